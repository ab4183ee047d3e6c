//! Wrong flags and places: one clear line, and nothing is started.

use std::process::Command;

fn run(flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .arg("dev")
        .args(flags)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn wrong_flags_end_with_2_and_say_what_is_right() {
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("thesis.tex"), "").unwrap();
    let foreign = foreign.path().to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["--replicas", "2"], "a group has 1, 3 or 5 replicas"),
        (&["--profile", "moon"], "choose lan, zone or region"),
        (&["--workers", "many"], "invalid value 'many'"),
        (&["--keep", "--dir", "x"], "cannot be used with"),
        (&["--nonsense"], "unexpected argument"),
        (
            &["--plain", "--dir", foreign],
            "is not empty and holds no cluster",
        ),
    ];
    for (flags, want) in cases {
        let (code, error) = run(flags);
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        assert!(error.contains(want), "{flags:?}: {error}");
    }
}

#[test]
fn a_place_that_cannot_be_used_ends_with_1() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, error) = run(&["--plain", "--dir", file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("cannot be used") && error.lines().count() == 1,
        "{error}"
    );
}
