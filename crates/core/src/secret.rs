//! Bytes that leave no copy behind.

use core::fmt;
use core::ops::Deref;

use zeroize::{ZeroizeOnDrop, optimization_barrier};

/// Bytes whose whole buffer is overwritten on drop, its spare capacity included.
///
/// [`zeroize::Zeroizing`] of a `Vec<u8>` does the same, but writes byte by byte, and a session's plaintext is dropped with
/// each request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Returns an empty buffer. Up to `capacity` bytes never move in it.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Returns the vector to append to, up to its capacity: if it grew, it would leave its old content behind.
    pub(crate) fn as_mut_vec(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        wipe_vec(&mut self.0);
    }
}

impl ZeroizeOnDrop for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// An array that is overwritten on drop.
pub(crate) struct SecretArray<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Drop for SecretArray<N> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites bytes. The compiler must not remove the writes, although nobody reads them.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// Overwrites what calls that have returned left on the stack.
#[inline(never)]
pub(crate) fn wipe_stack() {
    wipe(&mut [0xff; 16 * 1024]);
}

/// Overwrites a whole buffer, and leaves it empty.
fn wipe_vec(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bytes.capacity(), 0);
    optimization_barrier(bytes.as_slice());
    bytes.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_buffer_is_overwritten_also_what_was_truncated() {
        let mut bytes = vec![7; 1000];
        bytes.truncate(10);
        wipe_vec(&mut bytes);
        let capacity = bytes.capacity();
        assert!(capacity >= 1000 && bytes.is_empty());
        let mut array = [7; 64];
        wipe(&mut array);
        assert_eq!(array, [0; 64]);
    }

    #[test]
    fn debug_shows_the_length_alone() {
        assert_eq!(format!("{:?}", SecretBytes::from(vec![1, 2, 3])), "SecretBytes(3 bytes)");
    }

    #[test]
    fn bytes_within_the_room_never_move() {
        let mut bytes = SecretBytes::with_capacity(100);
        let place = bytes.as_mut_vec().as_ptr();
        bytes.as_mut_vec().extend_from_slice(&[7; 100]);
        assert_eq!(bytes.as_ptr(), place);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_dropped_is_overwritten_in_its_place() {
        use std::fs::File;
        use std::os::unix::fs::FileExt;

        let memory = File::open("/proc/self/mem").expect("Linux");
        let left = |place: *const u8| {
            let mut bytes = [0; 500];
            memory.read_exact_at(&mut bytes, place.addr() as u64).expect("the heap is still there");
            bytes.iter().filter(|byte| **byte == 7).count()
        };
        let bytes = SecretBytes::from(vec![7; 500]);
        let array = Box::new(SecretArray([7; 500]));
        let places = [bytes.as_ptr(), array.0.as_ptr()];
        assert_eq!(places.map(left), [500; 2]);
        drop((bytes, array));
        // The allocator's own notes there are shorter.
        assert!(places.map(left).iter().all(|left| *left < 50));
    }
}
