//! A "video" that is really a playlist or a script is refused, and nothing else is read.

use std::path::Path;

use super::media::moving_picture;
use super::world::finish;

/// Each names `private.mp4`, which must not be read.
fn disguises(private: &Path) -> Vec<(&'static str, String)> {
    let private = private.display();
    let entry = format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{private}\n");
    vec![
        ("playlist.mp4", format!("{entry}#EXT-X-ENDLIST\n")),
        ("list.m3u8", format!("{entry}#EXT-X-ENDLIST\n")),
        ("script.mp4", "ffconcat version 1.0\nfile private.mp4\n".to_owned()),
        ("absolute.mp4", format!("ffconcat version 1.0\nfile {private}\n")),
        ("spaced.mp4", format!("\n\n{entry}")),
        ("nothing.mp4", String::new()),
        ("text.mp4", "this is no video at all".to_owned()),
    ]
}

#[test]
fn a_disguised_video_is_refused_and_nothing_else_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let private = path.join("private.mp4");
    moving_picture(&private, 2, "160x120");
    let untouched = std::fs::metadata(&private).unwrap().accessed().unwrap();
    // A read within the same day only moves the time of access when it is older than the change.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let times = std::fs::FileTimes::new().set_accessed(old);
    std::fs::File::options().write(true).open(&private).unwrap().set_times(times).unwrap();
    assert_ne!(std::fs::metadata(&private).unwrap().accessed().unwrap(), untouched);

    for (name, content) in disguises(&private) {
        std::fs::write(path.join(name), content).unwrap();
        let input = format!("video={name}");
        let args = ["run", "caption", "--input", &input, "--out", "out", "--json"];
        let ended = finish(&path, &args).has_ended_with(1);
        let code = ended.json()["failure"]["code"].as_str().unwrap().to_owned();
        assert!(code.starts_with("media."), "{name}: {code}");
        println!("{name}: {code}");
        assert!(!path.join("out/video.mp4").exists(), "{name} gave a video");
    }
    let accessed = std::fs::metadata(&private).unwrap().accessed().unwrap();
    assert_eq!(accessed, old, "`private.mp4` was read");
    // The trap works: a read of the file is seen.
    std::fs::read(&private).unwrap();
    let accessed = std::fs::metadata(&private).unwrap().accessed().unwrap();
    assert_ne!(accessed, old, "this file system does not note reads; the test shows nothing");
}
