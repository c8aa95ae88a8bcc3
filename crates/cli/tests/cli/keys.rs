//! Key files: made, changed and read.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use secure_sessions::{Keyring, MemoryStore, SessionManager};

use crate::{Host, cookie_of};

#[test]
fn a_new_key_file_is_its_owners_alone_and_is_never_overwritten() {
    let host = Host::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(host.keys()).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read_to_string(host.keys()).expect("keys");
    let again = host.run(&["keys", "new", &host.keys()], "");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    assert_eq!(fs::read_to_string(host.keys()).expect("keys"), before);
    assert_eq!(host.run(&["keys", "check"], "").code, 0);
}

#[test]
fn keys_for_the_environment_are_what_the_application_reads() {
    let host = Host::new();
    let run = host.run(&["keys", "new", "--env"], "");
    let lines: Vec<&str> = run.out.lines().collect();
    let [seal, fingerprint] = lines.as_slice() else { panic!("{}", run.out) };
    let value = |line: &str, name: &str| line.strip_prefix(&format!("{name}=")).expect("the variable").to_owned();
    let seal = value(seal, secure_sessions::SEAL_KEYS_VARIABLE);
    let fingerprint = value(fingerprint, secure_sessions::FINGERPRINT_KEYS_VARIABLE);
    assert!(Keyring::from_text(&seal, &fingerprint, "").is_ok());
}

#[test]
fn a_key_change_keeps_comments_and_refuses_to_drop_the_active_key() {
    let host = Host::new();
    let [old] = host.ids("seal")[..].to_vec().try_into().expect("one key");
    fs::OpenOptions::new()
        .append(true)
        .open(host.keys())
        .expect("keys")
        .write_all(b"# of the shop\n")
        .expect("written");
    assert_eq!(host.run(&["keys", "rotate", "--add", "seal"], "").code, 0);
    let ids = host.ids("seal");
    assert_eq!((ids.len(), &ids[0]), (2, &old), "the new key does not seal yet");
    let refused = host.run(&["keys", "rotate", "--drop", &old], "");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("active seal key"), "{}", refused.err);
    assert_eq!(host.run(&["keys", "rotate", "--activate", &ids[1]], "").code, 0);
    assert_eq!(host.ids("seal")[0], ids[1]);
    assert_eq!(host.run(&["keys", "rotate", "--compromised", &old], "").code, 0);
    let check = host.run(&["keys", "check"], "");
    assert!(check.code == 1 && check.out.contains("compromised"), "{}", check.out);
    assert_eq!(host.run(&["keys", "rotate", "--drop", &old], "").code, 0);
    assert_eq!(host.ids("seal"), [ids[1].clone()]);
    assert!(fs::read_to_string(host.keys()).expect("keys").contains("# of the shop"));
    let unknown = host.run(&["keys", "rotate", "--drop", "00000000"], "");
    assert!(unknown.code == 2 && unknown.err.contains("keys list"), "{}", unknown.err);
}

#[cfg(unix)]
#[test]
fn a_key_change_leaves_the_files_owner_and_mode_as_they_are() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const SOMEBODY: u32 = 65_534;
    let host = Host::new();
    if let Err(refused) = chown(host.keys(), Some(SOMEBODY), Some(SOMEBODY)) {
        return eprintln!("SKIPPED, only root can give a file away: {refused}");
    }
    let changed = host.run(&["keys", "rotate", "--add", "seal"], "");
    assert_eq!(changed.code, 0, "{}", changed.err);
    let found = fs::metadata(host.keys()).expect("keys");
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (SOMEBODY, SOMEBODY, 0o600));

    // A user who is neither the owner nor root cannot leave the file to its owner.
    chown(host.keys(), Some(0), Some(0)).expect("root");
    fs::set_permissions(host.keys(), fs::Permissions::from_mode(0o644)).expect("set");
    fs::set_permissions(host.folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
    let before = fs::read_to_string(host.keys()).expect("keys");
    let output = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .args(["--keys", &host.keys(), "keys", "rotate", "--add", "seal"])
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .output();
    match output {
        Err(refused) => eprintln!("SKIPPED, others cannot run the tool where it was built: {refused}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && said.contains("as the file's owner"), "{said}");
            assert_eq!(fs::read_to_string(host.keys()).expect("keys"), before);
        }
    }
}

#[test]
fn a_key_change_writes_keys_to_their_own_folder_alone() {
    let host = Host::new();
    let output = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .args(["--keys", &host.keys(), "keys", "rotate", "--add", "seal"])
        .envs(["TMPDIR", "TMP", "TEMP"].map(|name| (name, host.path("no such folder"))))
        .output()
        .expect("the tool ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(host.ids("seal").len(), 2);
}

#[test]
fn a_key_of_zeros_and_a_file_for_all_to_read_are_problems() {
    let host = Host::new();
    let zero = secure_sessions_core::SealKey::from_bytes([0; 32]).to_text();
    let text = fs::read_to_string(host.keys()).expect("keys");
    fs::write(host.keys(), format!("{}\n{text}", zero.as_str())).expect("written");
    let check = host.run(&["keys", "check"], "");
    assert!(check.code == 1 && check.out.contains("32 zero bytes"), "{}", check.out);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(host.keys(), fs::Permissions::from_mode(0o644)).expect("set");
        let check = host.run(&["keys", "check"], "");
        assert!(check.out.contains("chmod 600"), "{}", check.out);
    }
}

#[test]
fn a_key_file_that_is_wrong_is_named_with_the_line() {
    let host = Host::new();
    for (line, expected) in [("geheim", "line 2"), ("sealk1_geheim", "seal key number 1")] {
        fs::write(host.keys(), format!("# keys\n{line}\n")).expect("written");
        let run = host.run(&["keys", "check"], "");
        assert!(run.code == 2 && run.err.contains(&host.keys()) && run.err.contains(expected), "{}", run.err);
        assert!(!run.err.contains("geheim"), "a line may hold a key: {}", run.err);
    }
}

#[test]
fn without_a_key_file_a_key_change_names_the_variables_to_edit() {
    let rotate = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .args(["keys", "rotate", "--add", "seal"])
        .env_remove("SECURE_SESSIONS_KEY_FILE")
        .output()
        .expect("the tool ends");
    assert_eq!(rotate.status.code(), Some(2));
    let said = String::from_utf8(rotate.stderr).expect("text");
    for name in ["--keys", "SECURE_SESSIONS_KEY_FILE", "SECURE_SESSIONS_SEAL_KEYS", "SECURE_SESSIONS_COMPROMISED_KEYS"]
    {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_leaked_key_in_the_environment_is_changed_by_its_variables() {
    let (leaked, fingerprint) = Keyring::generate_texts().expect("random");
    let (new, _) = Keyring::generate_texts().expect("random");
    let before = Keyring::from_text(&leaked, &fingerprint, "").expect("keys");
    let cookie =
        cookie_of(&SessionManager::builder(before, MemoryStore::new()).build().expect("the defaults"), "alice");
    let run = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
            .env_remove("SECURE_SESSIONS_KEY_FILE")
            .env_remove("SECURE_SESSIONS_STORE")
            .env("SECURE_SESSIONS_SEAL_KEYS", new.as_str())
            .env("SECURE_SESSIONS_FINGERPRINT_KEYS", fingerprint.as_str())
            .env("SECURE_SESSIONS_COMPROMISED_KEYS", leaked.as_str())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let _ = child.stdin.take().expect("input").write_all(cookie.as_bytes());
        String::from_utf8(child.wait_with_output().expect("the tool ends").stdout).expect("text")
    };
    let keys = run(&["keys", "list"]);
    let states: Vec<_> = keys.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(states, ["active", "compromised", "active"], "{keys}");
    let inspected = run(&["token", "inspect"]);
    assert!(inspected.contains("authentic") && inspected.contains("alice"), "{inspected}");
}
