//! Every bound of the media steps, in one place: unit last in the name, the reason, and what
//! happens beyond it.

use std::time::Duration;

/// Bytes that `media.fetch` takes unless told otherwise. Beyond it: `fetch.too_large`.
pub const DEFAULT_FETCH_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Time that `media.fetch` takes unless told otherwise. Beyond it: `fetch.timeout`.
pub const DEFAULT_FETCH_MS: u64 = 10 * 60 * 1_000;

/// Redirects that are followed: enough for a shortener and a store. Beyond it: `fetch.redirects`.
pub const MAX_REDIRECTS_COUNT: usize = 5;

/// How much of a server's refusal is read for its reason; the rest is not looked at.
pub const MAX_REFUSAL_BYTES: usize = 4 * 1024;

/// Times that a download which broke off is taken up again without any byte more. Beyond it:
/// `fetch.broken`, which may be retried from the start.
pub const MAX_RESUMES_COUNT: u32 = 5;

/// Pause before a download is taken up again; each one is longer by as much.
pub const RESUME_PAUSE: Duration = Duration::from_millis(300);

/// Room that a download leaves on the disk for the store and the steps that follow. Beyond it:
/// `fetch.no_room`.
pub const FREE_DISK_BYTES: u64 = 64 * 1024 * 1024;

/// How often the room on the disk is looked at while a file comes in.
pub const ROOM_CHECK_BYTES: u64 = 64 * 1024 * 1024;

/// Time to reach a server. Beyond it the attempt fails with `fetch.connect` and may be retried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence of a server in the middle of a file. Beyond it: `fetch.broken`, which may be retried.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Size of one piece that a local file is copied in.
pub const COPY_PIECE_BYTES: usize = 1024 * 1024;

/// Pixels of one picture: 8K is 33 million. Beyond it: `media.too_many_pixels`, before a decoder
/// allocates for it.
pub const MAX_PICTURE_PIXELS: u64 = 50_000_000;

/// Pixels of one side of a picture, what H.264 can hold.
pub const MAX_SIDE_PIXELS: usize = 16_384;

/// Streams of one file. Beyond it: `media.too_many_streams`; each stream costs a decoder.
pub const MAX_STREAMS_COUNT: usize = 32;

/// Streams that ffmpeg and ffprobe open a file with: enough to count them for the message, and no
/// more memory than that. Beyond it: `media.too_many_streams`.
pub const MAX_OPENED_STREAMS_COUNT: usize = 8 * MAX_STREAMS_COUNT;

/// Length of one file: a day. Beyond it: `media.too_long`; for files that do not say it, when as
/// much was read.
pub const MAX_DURATION_S: f64 = 24.0 * 3_600.0;

/// Pictures a second: slow motion has 240. Beyond it: `media.too_many_frames`.
pub const MAX_FRAMES_PER_SECOND: f64 = 300.0;

/// Files of which a process remembers what is in them; a few kilobytes each. Beyond it the oldest
/// is looked into again.
pub const MAX_KNOWN_FILES_COUNT: usize = 2_000;

/// Bytes at the start of a file that its kind is told from.
pub const SNIFF_BYTES: usize = 1_024;

/// Lines of ffmpeg's log that an error message tells; the log has more.
pub const MAX_TOLD_LINES: usize = 6;

/// Lines of ffmpeg's log that are kept.
pub const LOG_TAIL_LINES: usize = 20;

/// Longest line of it that is kept; the rest is left out.
pub const MAX_LOG_LINE_CHARS: usize = 300;

/// Size of a `SubRip` file that becomes a track. Beyond it: `subtitles.not_srt`.
pub const MAX_SRT_BYTES: u64 = 16 * 1024 * 1024;

/// Largest block of memory that ffmpeg asks for at once: the largest picture has 400 MB. Beyond it
/// ffmpeg gives up with `ffmpeg.failed`.
pub const MAX_FFMPEG_BLOCK_BYTES: u64 = 1024 * 1024 * 1024;

/// Size of an ASS file that is burned. Beyond it: `subtitles.not_ass`.
pub const MAX_ASS_BYTES: u64 = 16 * 1024 * 1024;

/// Words of one transcript. Beyond it the input is refused; a day of speech has half of it.
pub const MAX_WORDS_COUNT: usize = 400_000;

/// Channels of a WAV file that is listened to: room is made for all of them. Beyond it:
/// `speech.audio`.
pub const MAX_WAV_CHANNELS_COUNT: u16 = 64;

/// Samples a second of a WAV file that is listened to, the most that devices record. Beyond it:
/// `speech.audio`.
pub const MAX_WAV_SAMPLES_PER_SECOND: u32 = 384_000;

/// Bits of one sample in a WAV file. Beyond it: `speech.audio`.
pub const MAX_WAV_BITS_COUNT: u16 = 64;

/// Chunks of a WAV file up to its samples: programs write a handful. Beyond it: `speech.audio`.
pub const MAX_WAV_CHUNKS_COUNT: usize = 1_000;

/// Letters of all words of a composition, ten for each of them, before and after every replacement.
/// Beyond it: `subtitles.input`.
pub const MAX_TEXT_CHARS: usize = 10 * MAX_WORDS_COUNT;

/// Words on one line of a caption: more cannot be read at a glance.
pub const MAX_WORDS_PER_LINE_COUNT: usize = 12;

/// Characters on one line of a caption.
pub const MAX_LINE_CHARS: usize = 200;

/// Letters that count as one word in scripts without blanks between words: three words a line are
/// then twelve letters, what subtitlers of Chinese put there.
pub const LETTERS_PER_WORD_COUNT: usize = 4;

/// Replacements of one composition. Beyond it the input is refused; each is a pass over all words.
pub const MAX_REPLACEMENTS_COUNT: usize = 200;

/// Characters of what is found or put in its place.
pub const MAX_REPLACEMENT_CHARS: usize = 200;

/// Name of a font. Beyond it: `subtitles.input`.
pub const MAX_FONT_CHARS: usize = 64;

/// Stretches without captions. Beyond it the input is refused.
pub const MAX_EXCLUSIONS_COUNT: usize = 1_000;

/// Lines of one caption.
pub const MAX_LINES_COUNT: usize = 3;

/// Shortest time of a caption on the screen where there is room: 5/6 s, below it a text flickers.
pub const MIN_CUE_MS: u64 = 833;

/// Longest time of a caption on the screen: beyond it viewers read the text again.
pub const MAX_CUE_MS: u64 = 7_000;

/// Latest time that a caption can have: 99 hours, what all formats can write. Words beyond it are
/// left out.
pub const MAX_CUE_TIME_MS: f64 = 99.0 * 3_600_000.0;

/// Audio that is sent to the OpenAI API in one call; the service takes 25 MB. A larger file is
/// compressed first, and refused with `speech.too_long` when that does not help.
pub const MAX_OPENAI_AUDIO_BYTES: u64 = 24 * 1024 * 1024;

/// Calls of the OpenAI API that are under way at once over all jobs: accounts have limits for a
/// minute, and the pieces of one recording would use them up.
pub const MAX_OPENAI_CALLS_COUNT: usize = 8;

/// Length of the pieces that are recognised on this machine, at least where a later pause allows,
/// and at most: the recogniser takes about a second to start, and pieces are what processors share.
pub const LOCAL_PIECE_S: (f64, f64) = (15.0, 30.0);

/// Length of the pieces that go to the OpenAI API: ten minutes of plain samples are 19 MB, and few
/// calls are cheaper to repeat than one large one and quicker than many small ones.
pub const OPENAI_PIECE_S: (f64, f64) = (300.0, 600.0);

/// Bounds of a piece's length. Beyond them: `speech.input`.
pub const PIECE_RANGE_S: (f64, f64) = (1.0, 3_600.0);

/// Shortest pause at which a recording is cut: within words it is silent for half as long.
pub const MIN_CUT_PAUSE_S: f64 = 0.2;

/// Silence that is left before and after a piece: recognisers learn from it what silence is.
pub const PIECE_PADDING_S: f64 = 0.5;

/// Time for one call of the OpenAI API: an hour of speech takes a few minutes.
pub const OPENAI_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What one run of ffmpeg writes: an hour of UHD has a tenth of it. Beyond it the run is ended with
/// `ffmpeg.too_large`.
pub const MAX_WRITTEN_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// Pictures that the encoder of a clip's ends can hold back to store them out of order. A source
/// that holds back more is not cut, but encoded.
pub const MAX_DELAY_COUNT: i64 = 2;

/// Pictures that are looked through to cut a clip: nine hours at 30 a second. A longer clip is
/// encoded.
pub const MAX_CUT_COUNT: usize = 1_000_000;

/// How much earlier a source is entered whose index may lead too far: what its keyframes are apart.
pub const SEEK_MARGIN_S: f64 = 10.0;

/// Pictures from whose order is told how far it goes: several groups of them.
pub const ORDER_SAMPLE_COUNT: usize = 300;

/// How far behind a clip its file is read for the pictures that end it: some are stored later than
/// those that are shown behind them, and a file may begin later than at 0.
pub const CUT_MARGIN_S: f64 = 2.0;

/// Time for a test of an encoder in hardware, which takes a tenth of it. Beyond it the test is
/// killed and the processor encodes; the next job tries again.
pub const HARDWARE_TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The smallest side of a picture that can be asked for.
pub const MIN_ASKED_SIDE_PIXELS: u32 = 144;

/// The largest height that can be asked for: UHD.
pub const MAX_ASKED_HEIGHT_PIXELS: u32 = 2_160;

/// The largest width that can be asked for: UHD.
pub const MAX_ASKED_WIDTH_PIXELS: u32 = 3_840;

/// The fewest pictures a second that can be asked for.
pub const MIN_ASKED_FRAMES_PER_SECOND: f64 = 1.0;

/// The most pictures a second that can be asked for: slow motion.
pub const MAX_ASKED_FRAMES_PER_SECOND: f64 = 240.0;

/// The fewest kilobits of sound a second that can be asked for.
pub const MIN_ASKED_KBIT_PER_SECOND: f64 = 16.0;

/// The most kilobits of sound a second that can be asked for: what six channels need.
pub const MAX_ASKED_KBIT_PER_SECOND: f64 = 512.0;

/// The most channels of sound that can be asked for: what the encoders know an order of.
pub const MAX_ASKED_CHANNELS_COUNT: u32 = 8;

/// The fewest samples of sound a second that can be asked for: a telephone.
pub const MIN_ASKED_SAMPLES_PER_SECOND: f64 = 8_000.0;

/// The most samples of sound a second that can be asked for.
pub const MAX_ASKED_SAMPLES_PER_SECOND: f64 = 192_000.0;

/// The smallest width of a picture that is taken out of a film.
pub const MIN_STILL_WIDTH_PIXELS: u32 = 16;

/// Keyframes among which the most telling picture is looked for, spread over the film.
pub const BEST_SAMPLE_COUNT: usize = 200;

/// How much earlier the last picture is looked for when none is shown so late: the sound of a film
/// may go on a little longer than its pictures.
pub const LAST_PICTURE_S: f64 = 3.0;

/// How much later than asked a picture may be that was found by a guess: one of few a second. What
/// is later is looked for from the start.
pub const LATE_PICTURE_S: f64 = 0.5;

/// Pictures on one side of a contact sheet: twelve by twelve are as many as anybody looks at.
/// Beyond it: `ffmpeg.input`.
pub const MAX_SHEET_SIDE_COUNT: u32 = 12;

/// The smallest width of a picture on a contact sheet.
pub const MIN_TILE_WIDTH_PIXELS: u32 = 32;

/// The largest width of a picture on a contact sheet.
pub const MAX_TILE_WIDTH_PIXELS: u32 = 1_920;

/// Seconds of film for each picture of a sheet from which on it is sought: below, going back to a
/// keyframe each time is more work than decoding all.
pub const SEEK_PAYS_S: f64 = 4.0;

/// Silences and scene changes that an output lists; all of them are in the written report.
pub const MAX_MARKS_COUNT: usize = 2_000;

/// The shortest silence that can be asked for: below, every gap between two sounds is one.
pub const MIN_SILENCE_S: f64 = 0.05;

/// The longest silence that can be asked for.
pub const MAX_SILENCE_S: f64 = 600.0;

/// The softest level that can count as silence.
pub const MIN_SILENCE_DB: f64 = -90.0;

/// The smallest side of a waveform picture.
pub const MIN_WAVE_SIDE_PIXELS: u32 = 32;

/// The largest side of a waveform picture.
pub const MAX_WAVE_SIDE_PIXELS: u32 = 8_192;

/// Samples that a waveform is drawn of: ffmpeg holds all of them in memory, two bytes each. Sound
/// of more than two hours is drawn of fewer a second; of sound that does not say how long it is the
/// rest is not drawn.
pub const MAX_WAVE_SAMPLES_COUNT: u64 = 64 * 1_024 * 1_024;

/// Samples a second that a waveform is drawn of at most: the picture has far fewer columns.
pub const MAX_WAVE_SAMPLES_PER_SECOND: f64 = 8_000.0;

/// Share of the expected length that a written file must have. Below it: `verify.too_short`.
pub const MIN_LENGTH_SHARE: f64 = 0.95;

/// How far a stream may end before what its file says, beside the share above: heads are rounded,
/// and some count the last picture twice. Beyond it: `media.cut_off`.
pub const MAX_LENGTH_ERROR_S: f64 = 0.5;

/// Most that a sound is raised or lowered to reach a loudness: beyond it noise is what is raised.
/// The step then says that the loudness was not reached.
pub const MAX_GAIN_DB: f64 = 40.0;

/// Highest peak of a written sound, in dBTP: players and lossy encoders clip what lies above.
pub const MAX_TRUE_PEAK_DBTP: f64 = -1.5;

/// Where the limiter holds peaks before the encoder, which raises some of them.
pub const LIMITER_CEILING_DB: f64 = -2.2;

/// The lowest that the limiter knows.
pub const MIN_CEILING_DB: f64 = -24.0;

/// How far a written sound may be from its loudness; beyond it is corrected and written again.
pub const LOUDNESS_TOLERANCE_LU: f64 = 0.5;

/// The softest loudness that can be asked for: below, the pauses of speech count as silence.
pub const MIN_LOUDNESS_LUFS: f64 = -40.0;

/// The highest loudness that can be asked for: above, nothing but the limiter is heard.
pub const MAX_LOUDNESS_LUFS: f64 = -8.0;

/// Times that a mix is written until its loudness and its length are right. Usually it is once;
/// after these it is taken as it is, and the step says that the loudness was not reached.
pub const MAX_MIX_ROUNDS_COUNT: usize = 4;

/// Factor on a sound. Beyond it: `ffmpeg.input`.
pub const MAX_VOLUME_RATIO: f64 = 10.0;

/// Time in which music fades out. Beyond it: `ffmpeg.input`.
pub const MAX_FADE_S: f64 = 60.0;

/// How far the end of a written sound may be from the end of the pictures: one AAC frame at 48 kHz.
pub const MAX_DRIFT_S: f64 = 0.021;

/// Scenes of one film. Beyond it: `merge.input`; each costs a process and two files.
pub const MAX_SCENES_COUNT: usize = 1_000;

/// The shortest scene that can be asked for.
pub const MIN_SCENE_S: f64 = 0.1;

/// The longest scene that can be asked for; one that lasts as long as its voice may be longer.
pub const MAX_SCENE_S: f64 = 3_600.0;

/// The smallest side of a joined film in pixels. Beyond it: `merge.input`.
pub const MIN_FILM_SIDE_PIXELS: u32 = 480;

/// The largest side of a joined film: 4K. Beyond it: `merge.input`.
pub const MAX_FILM_SIDE_PIXELS: u32 = 3_840;

/// Fewest pictures a second of a joined film. Beyond it: `merge.input`.
pub const MIN_FILM_FRAMES_PER_SECOND: f64 = 1.0;

/// Most pictures a second of a joined film. Beyond it: `merge.input`.
pub const MAX_FILM_FRAMES_PER_SECOND: f64 = 120.0;

/// Samples a second of every sound that is mixed.
pub const SAMPLES_PER_SECOND: u64 = 48_000;

/// What the sound of a scene is divided by until the film is put together, so that two sounds at
/// the highest volume are not clipped. 24 bits leave 19 for what is heard.
pub const SCENE_HEADROOM_RATIO: f64 = 32.0;

/// Time in which the receiver of a webhook must have answered. Beyond it `webhook.timeout`, which
/// is tried again: a receiver takes the message and works afterwards.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Webhooks that are sent at once. Beyond it deliveries wait, each for as long as one may take.
pub const MAX_DELIVERIES_COUNT: usize = 64;

/// Output of a job in a webhook's message, as JSON. A larger one is left out, with a note:
/// receivers refuse large bodies, and it can be asked for.
pub const MAX_WEBHOOK_OUTPUT_BYTES: usize = 64 * 1024;

/// The address of a webhook's receiver. Beyond it `webhook.target`.
pub const MAX_WEBHOOK_URL_BYTES: usize = 2_048;

/// The secret of a webhook. Beyond it `webhook.secret`; the convention asks for 24 to 64 bytes.
pub const MAX_SECRET_BYTES: usize = 256;

/// Longest part of what a sandbox says, when it does not work, that is kept. Beyond it: cut.
pub const MAX_SANDBOX_SAID_CHARS: usize = 200;

/// Sign of life of a step that waits for its turn.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

const _: () = assert!(MAX_REDIRECTS_COUNT > 0);
const _: () = assert!(MIN_LENGTH_SHARE <= 1.0);
const _: () = assert!(SCENE_HEADROOM_RATIO > 2.0 * MAX_VOLUME_RATIO);
const _: () = assert!(OPENAI_PIECE_S.1 * 32_000.0 < MAX_OPENAI_AUDIO_BYTES as f64);
const _: () = assert!(LOCAL_PIECE_S.0 <= LOCAL_PIECE_S.1 && OPENAI_PIECE_S.0 <= OPENAI_PIECE_S.1);
const _: () = assert!(MIN_CUE_MS < MAX_CUE_MS);
