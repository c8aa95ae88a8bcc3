//! The names of all keys in a Memcached.
//!
//! The client's own walk goes over the lists of what was used last, and misses the keys that change their list meanwhile. This
//! one goes over the hash table, where a key stays.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use super::wire;
use crate::StoreError;

/// Returns all names, in no order, or `None` if the server is busy with another walk.
pub(super) async fn read(url: &str) -> Result<Option<Vec<String>>, StoreError> {
    walk(wire::connect(url).await.map_err(StoreError::unavailable)?).await
}

async fn walk(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Option<Vec<String>>, StoreError> {
    stream.write_all(b"lru_crawler metadump hash\r\n").await.map_err(StoreError::unavailable)?;
    let mut lines = BufReader::new(stream).lines();
    let mut names = Vec::new();
    while let Some(line) = lines.next_line().await.map_err(StoreError::unavailable)? {
        match line.split([' ', '\r']).next() {
            Some("END") => return Ok(Some(names)),
            Some("BUSY") => return Ok(None),
            Some(word) => match word.strip_prefix("key=") {
                Some(name) => names.push(decoded(name)),
                None => return Err(StoreError::rejected("this Memcached cannot walk over its keys (metadump hash)")),
            },
            None => {}
        }
    }
    Err(StoreError::unavailable("Memcached closed the connection in the middle of a walk"))
}

/// Returns a name as it was before the walk wrote some of its characters as `%XX`.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    // Other keys than ours may hold anything.
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_walk_returns_decoded_names_or_says_that_another_is_under_way() {
        let walked = |answer: &'static [u8]| async move {
            let (client, mut server) = tokio::io::duplex(1024);
            server.write_all(answer).await.expect("room for the answer");
            drop(server.shutdown().await);
            walk(client).await
        };
        let names = walked(b"key=a%2Fs%2f1 exp=-1 la=1 cas=1\nkey=b%ZZ%4 exp=5\nEND\r\n").await;
        assert_eq!(names.expect("a walk"), Some(vec!["a/s/1".to_owned(), "b%ZZ%4".to_owned()]));
        assert_eq!(walked(b"BUSY currently processing crawler request\r\n").await.expect("an answer"), None);
        assert!(matches!(walked(b"ERROR\r\n").await, Err(StoreError::Rejected(_))));
        assert!(matches!(walked(b"key=a exp=-1\n").await, Err(StoreError::Unavailable(_))));
    }
}
