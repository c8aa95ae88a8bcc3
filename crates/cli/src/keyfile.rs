//! A key file, edited in place: comments, order and unknown lines stay as they are.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use secure_sessions::{KeySourceError, Keyring};
use secure_sessions_core::{FingerprintKey, KeyId, SealKey};
use zeroize::Zeroizing;

use crate::error::Failure;

/// The two kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Seal,
    Fingerprint,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// One line of the file, and its key if it has one.
struct Line {
    text: Zeroizing<String>,
    key: Option<Key>,
}

/// The key of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    kind: Kind,
    id: KeyId,
    is_compromised: bool,
}

pub(crate) struct KeyFile {
    path: PathBuf,
    lines: Vec<Line>,
}

impl KeyFile {
    /// Reads the file. The caller has had the engine check it, so a line that holds no key here is a comment.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| Failure::File { path: path.to_owned(), source })?;
        let lines = text.lines().map(|line| Line { text: Zeroizing::new(line.to_owned()), key: key_of(line) });
        Ok(Self { path: path.to_owned(), lines: lines.collect() })
    }

    /// Adds a key as the second of its kind, or as the first if there is none.
    pub(crate) fn add(&mut self, kind: Kind, key: Zeroizing<String>) {
        let first = self.lines.iter().position(|line| line.key.is_some_and(|key| key.kind == kind));
        let at = first.map_or(self.lines.len(), |first| first + 1);
        let parsed = key_of(&key);
        self.lines.insert(at, Line { text: key, key: parsed });
    }

    /// Moves the key to the first place of its kind.
    pub(crate) fn activate(&mut self, id: &str) -> Result<(), Failure> {
        let (at, key) = self.find(id)?;
        if key.is_compromised {
            return Err(Failure::Usage(format!("the key {id} is compromised: it must not seal; add a new one")));
        }
        let first = self.active(key.kind).unwrap_or(at);
        let line = self.lines.remove(at);
        self.lines.insert(first.min(at), line);
        Ok(())
    }

    pub(crate) fn compromise(&mut self, id: &str) -> Result<(), Failure> {
        let (at, key) = self.find(id)?;
        if key.is_compromised {
            return Err(Failure::Usage(format!("the key {id} is marked as compromised already")));
        }
        self.refuse_active(at, &key, id)?;
        if let Some(line) = self.lines.get_mut(at) {
            line.text = Zeroizing::new(format!("compromised {}", line.text.trim_start()));
            line.key = Some(Key { is_compromised: true, ..key });
        }
        Ok(())
    }

    pub(crate) fn drop_key(&mut self, id: &str) -> Result<(), Failure> {
        let (at, key) = self.find(id)?;
        self.refuse_active(at, &key, id)?;
        self.lines.remove(at);
        Ok(())
    }

    fn find(&self, id: &str) -> Result<(usize, Key), Failure> {
        let mut keys = self.lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.key?)));
        let found = keys.find(|(_, key)| key.id.to_string() == id);
        found.ok_or_else(|| {
            let file = self.path.display();
            Failure::Usage(format!("{file} has no key with the id {id}: `secure-sessions keys list` prints the ids"))
        })
    }

    /// Returns the line of the active key of this kind: the first that is not compromised.
    fn active(&self, kind: Kind) -> Option<usize> {
        self.lines.iter().position(|line| line.key.is_some_and(|key| key.kind == kind && !key.is_compromised))
    }

    fn refuse_active(&self, at: usize, key: &Key, id: &str) -> Result<(), Failure> {
        if self.active(key.kind) == Some(at) {
            let kind = key.kind.name();
            return Err(Failure::Usage(format!(
                "{id} is the active {kind} key: add another one and activate that first (`keys rotate --add {kind}`)"
            )));
        }
        Ok(())
    }

    /// Makes the keyring that the application reads from the file, without writing it anywhere.
    pub(crate) fn keyring(&self) -> Result<Keyring, KeySourceError> {
        // Reserved in full: a string that grows leaves its old buffer behind, including the keys.
        let room = self.lines.iter().map(|line| line.text.len() + 1).sum();
        let [mut seal, mut fingerprint, mut compromised] =
            [(); 3].map(|()| Zeroizing::new(String::with_capacity(room)));
        for line in &self.lines {
            let Some(key) = line.key else { continue };
            let list = match key.kind {
                _ if key.is_compromised => &mut compromised,
                Kind::Seal => &mut seal,
                Kind::Fingerprint => &mut fingerprint,
            };
            list.push_str(words(&line.text).last().copied().unwrap_or_default());
            list.push(' ');
        }
        Keyring::from_text(&seal, &fingerprint, &compromised)
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.lines.iter().map(|line| line.text.len() + 1).sum()));
        for line in &self.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text
    }

    /// Replaces the file in one step, so that an application that reads it now sees the old keys or the new ones.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let failed = |source| Failure::File { path: self.path.clone(), source };
        // Through a link, so that the file that it leads to is replaced and not the link.
        let path = fs::canonicalize(&self.path).map_err(failed)?;
        let replaced = fs::metadata(&path).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        new.write_all(self.text().as_bytes()).map_err(failed)?;
        // In this order, so that nobody else may read the new keys at any time.
        keep_owner(new.as_file(), &replaced, &path)?;
        new.as_file().set_permissions(replaced.permissions()).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// Gives the file to the owner and the group of the one that it replaces: if root changes the keys, the application must still
/// be able to read them.
#[cfg(unix)]
fn keep_owner(new: &fs::File, replaced: &fs::Metadata, path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let made = new.metadata().map_err(failed)?;
    let (user, group) = (replaced.uid(), replaced.gid());
    if (made.uid(), made.gid()) == (user, group) {
        return Ok(());
    }
    fchown(new, Some(user), Some(group)).map_err(|refused| {
        Failure::Usage(format!(
            "{} belongs to the user {user} and the group {group}, and a new file cannot be given to them ({refused}): run this \
             as the file's owner",
            path.display()
        ))
    })
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::File, _: &fs::Metadata, _: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Creates a key file that its owner alone may read.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => {
            let path = path.display();
            Failure::Usage(format!(
                "{path} exists, and a key file is never overwritten: choose another name, or `keys rotate`"
            ))
        }
        ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path).display();
            Failure::Usage(format!(
                "{folder} is no folder in which a file can be made: make it first, or name another one"
            ))
        }
        _ => Failure::File { path: path.to_owned(), source },
    };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Returns who else may read the file, or `None` if its owner alone can, or the system cannot say.
pub(crate) fn open_to_others(path: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Some(format!("{path} has mode {mode:03o}: others than its owner can open it; `chmod 600 {path}`"));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    None
}

/// Returns the words of a line in front of its comment.
fn words(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap_or_default().split_whitespace().collect()
}

fn key_of(line: &str) -> Option<Key> {
    let (text, is_compromised) = match words(line).as_slice() {
        [key] => (*key, false),
        ["compromised", key] => (*key, true),
        _ => return None,
    };
    let (kind, id) = match SealKey::from_str(text) {
        Ok(key) => (Kind::Seal, key.id()),
        Err(_) => (Kind::Fingerprint, FingerprintKey::from_str(text).ok()?.id()),
    };
    Some(Key { kind, id, is_compromised })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seal(byte: u8) -> SealKey {
        SealKey::from_bytes([byte; 32])
    }

    fn file(keys: &[(&str, SealKey)]) -> KeyFile {
        let line = |(before, key): &(&str, SealKey)| format!("{before}{}", key.to_text().as_str());
        let texts: Vec<String> = keys.iter().map(line).collect();
        let lines = texts.iter().map(|text| Line { text: Zeroizing::new(text.clone()), key: key_of(text) }).collect();
        KeyFile { path: "keys".into(), lines }
    }

    fn ids(file: &KeyFile) -> Vec<(String, bool)> {
        let key = |line: &Line| line.key.map(|key| (key.id.to_string(), key.is_compromised));
        file.lines.iter().filter_map(key).collect()
    }

    #[test]
    fn a_key_is_added_as_second_then_moved_first_then_the_old_one_dropped() {
        let [old, new] = [seal(1), seal(2)];
        let ids_of = |keys: &[&SealKey]| keys.iter().map(|key| (key.id().to_string(), false)).collect::<Vec<_>>();
        let mut file = file(&[("", old.clone())]);
        file.add(Kind::Seal, new.to_text());
        assert_eq!(ids(&file), ids_of(&[&old, &new]));
        file.activate(&new.id().to_string()).expect("there");
        assert_eq!(ids(&file), ids_of(&[&new, &old]));
        let error = file.drop_key(&new.id().to_string()).expect_err("active").to_string();
        assert!(error.contains("active seal key"), "{error}");
        file.drop_key(&old.id().to_string()).expect("not active");
        assert_eq!(ids(&file), ids_of(&[&new]));
    }

    #[test]
    fn a_compromised_key_is_marked_never_activated_and_may_stand_first() {
        let [leaked, fresh] = [seal(1), seal(2)];
        let mut file = file(&[("compromised ", leaked.clone()), ("", fresh.clone())]);
        let id = leaked.id().to_string();
        assert!(file.activate(&id).expect_err("leaked").to_string().contains("compromised"));
        assert!(file.compromise(&id).expect_err("twice").to_string().contains("already"));
        assert!(file.compromise(&fresh.id().to_string()).is_err(), "the active one");
        file.add(Kind::Seal, seal(3).to_text());
        file.activate(&seal(3).id().to_string()).expect("there");
        file.compromise(&fresh.id().to_string()).expect("no longer active");
        assert_eq!(ids(&file).iter().filter(|(_, compromised)| *compromised).count(), 2);
    }

    #[test]
    fn the_keyring_is_what_the_application_reads_from_the_file() {
        let mut file = file(&[("compromised ", seal(1)), ("", seal(2)), ("", seal(3))]);
        let fingerprint = FingerprintKey::from_bytes([4; 32]).to_text();
        file.add(Kind::Fingerprint, Zeroizing::new(format!("  {}  # of the shop", fingerprint.as_str())));
        let written = tempfile::NamedTempFile::new().expect("a file");
        fs::write(written.path(), file.text().as_bytes()).expect("written");
        let states = |ring: Keyring| ring.states().collect::<Vec<_>>();
        let read = states(Keyring::from_file(written.path()).expect("keys"));
        assert_eq!((states(file.keyring().expect("keys")), read.len()), (read, 4));
    }
}
