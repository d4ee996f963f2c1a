//! How near captions are to the words, by the times of the voice that speaks them.

use callsheet_actors::Submit;
use callsheet_engine::{Ending, Phase};
use callsheet_workflows::Transcript;
use callsheet_workflows::subtitles::{Word, read_srt};
use serde_json::{Value, json};

use crate::samples::{Said, Samples};
use crate::support::{engine, offline, step, stored, text};

/// More than half a minute of speech, so that it is recognised in pieces.
const SPEECH: &str = "once upon a time there was a young man. he worked every day and he never \
    asked for money. the morning train leaves the station. every passenger has a window seat. \
    we will arrive before the evening. people come from every part of the country to see the old \
    house by the river. nobody knows who built it, but everybody has a story about it. some say \
    that a rich man lived there with his wife and three children. others say that it was never \
    more than a school. in the winter the water stands so high that nobody can go there, and in \
    the summer the garden is full of flowers.";

/// The voices of flite that are listened to; `CALLSHEET_VOICES=slt,rms,awb,kal16` takes more time.
fn voices() -> Vec<String> {
    let voices = std::env::var("CALLSHEET_VOICES").unwrap_or_else(|_| "slt".to_owned());
    voices.split(',').map(ToOwned::to_owned).collect()
}

/// Pairs of what was said and what was heard of it, in order: the longest common part.
fn pairs<'a>(said: &'a [Said], heard: &'a [Word]) -> Vec<(&'a Said, usize)> {
    let same = |n: usize, m: usize| said[n].text == heard[m].text;
    let mut longest = vec![vec![0; heard.len() + 1]; said.len() + 1];
    for n in (0..said.len()).rev() {
        for m in (0..heard.len()).rev() {
            longest[n][m] = match same(n, m) {
                true => longest[n + 1][m + 1] + 1,
                false => longest[n + 1][m].max(longest[n][m + 1]),
            };
        }
    }
    let (mut n, mut m, mut pairs) = (0, 0, Vec::new());
    while n < said.len() && m < heard.len() {
        if same(n, m) {
            pairs.push((&said[n], m));
            (n, m) = (n + 1, m + 1);
        } else if longest[n + 1][m] >= longest[n][m + 1] {
            n += 1;
        } else {
            m += 1;
        }
    }
    pairs
}

/// The median and the largest of some errors, in milliseconds.
fn spread(mut errors: Vec<f64>) -> (f64, f64) {
    errors.sort_by(f64::total_cmp);
    (errors[errors.len() / 2] * 1e3, errors[errors.len() - 1] * 1e3)
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_come_when_the_words_are_spoken() {
    for voice in voices() {
        let samples = Samples::new();
        let said = samples.speak(&voice, SPEECH, "speech.wav");
        let film = samples.ffmpeg(
            "-f lavfi -i testsrc2=size=64x64:rate=10 -i speech.wav -shortest -c:v libx264 \
             -preset ultrafast -c:a aac -b:a 96k",
            "film.mp4",
        );
        let engine = engine(&offline()).await;
        // A word is a caption, so that every one of them has a time of its own in the files.
        let input = json!({ "video": film, "words_per_line": 1, "captions": "soft" });
        let job = engine.submit(Submit::named("caption", input)).await.unwrap().job;
        let view = job.wait().await.unwrap();
        let Phase::Ended { ending: Ending::Succeeded(output), .. } = &view.state.phase else {
            panic!("{:?}", view.state.phase);
        };
        let transcript = view.state.output_of("transcript").unwrap().clone();
        let heard: Transcript = serde_json::from_value(transcript).unwrap();
        let cues = read_srt(&text(&engine, &output["srt"])).unwrap();
        assert_eq!(cues.len(), heard.words.len());
        let pieces = view.state.output_of("cut").unwrap()["pieces"].as_array().unwrap().len();
        assert!(pieces > 1, "{pieces}");

        let pairs = pairs(&said, &heard.words);
        let begins = |(said, n): &(&Said, usize)| {
            let error = (cues[*n].start_ms as f64 / 1e3 - said.start_s).abs();
            if error > 0.1 {
                println!("`{}` at {:.3} s begins {error:.3} s off", said.text, said.start_s);
            }
            error
        };
        let ends = |(said, n): &(&Said, usize)| {
            let error = (heard.words[*n].end_s - said.end_s).abs();
            if error > 0.1 {
                println!("`{}` to {:.3} s ends {error:.3} s off", said.text, said.end_s);
            }
            error
        };
        let starts = spread(pairs.iter().map(begins).collect());
        let ends = spread(pairs.iter().map(ends).collect());
        println!(
            "caption times, voice {voice}: {} of {} words heard, in {pieces} pieces; \
             starts are {:.0} ms off (median), {:.0} ms at most; ends {:.0} ms, {:.0} ms",
            pairs.len(),
            said.len(),
            starts.0,
            starts.1,
            ends.0,
            ends.1
        );
        assert!(pairs.len() * 100 >= said.len() * 75, "{} of {}", pairs.len(), said.len());
        for (median, largest) in [starts, ends] {
            assert!(median <= 60.0 && largest <= 200.0, "{voice}: {median} {largest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_heard_as_the_whole_is() {
    let samples = Samples::new();
    let said = samples.speak("slt", SPEECH, "speech.wav");
    let sound = samples.ffmpeg("-i speech.wav -ar 16000 -ac 1", "audio.wav");
    let engine = engine(&offline()).await;
    let audio = stored(&engine, &sound);
    let with = json!({ "audio": audio, "min_piece_s": 6, "max_piece_s": 12 });
    let cut = step(&engine, "speech.cut", with).await.unwrap();
    let pieces = cut["pieces"].as_array().unwrap();
    assert!(pieces.len() >= 3, "{cut}");
    // No piece begins or ends while a word is spoken.
    for second in pieces.iter().flat_map(|piece| [&piece["start_s"], &piece["end_s"]]) {
        let second = second.as_f64().unwrap();
        let within =
            said.iter().find(|word| (word.start_s + 0.03..word.end_s - 0.03).contains(&second));
        assert!(within.is_none(), "{second} is within {within:?}");
    }
    let hear = async |audio: &Value| {
        let with = json!({ "audio": audio, "provider": "pocketsphinx" });
        step(&engine, "speech.recognise", with).await.unwrap()
    };
    let mut transcripts = Vec::new();
    for piece in pieces {
        transcripts.push(hear(&piece["audio"]).await);
    }
    let with = json!({ "pieces": pieces, "transcripts": transcripts });
    let joined = step(&engine, "speech.join", with).await.unwrap();
    let whole: Transcript = serde_json::from_value(hear(&audio).await).unwrap();
    let joined: Transcript = serde_json::from_value(joined).unwrap();
    let (from_pieces, from_whole) =
        (pairs(&said, &joined.words).len(), pairs(&said, &whole.words).len());
    println!(
        "of {} words {from_pieces} are heard in {} pieces and {from_whole} in the whole",
        said.len(),
        pieces.len()
    );
    assert!(from_pieces * 100 >= from_whole * 92, "{from_pieces} {from_whole}");
    assert!(joined.words.is_sorted_by(|one, next| one.end_s <= next.start_s + 0.001));
}
