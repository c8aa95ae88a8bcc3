//! Size classes: the length of a token tells its class and no more.

use crate::base64url;
use crate::format::{
    BROWSER_LIMIT, DEFAULT_LIMIT, DEFAULT_SIZE_STEP, MAX_TOKEN, MIN_BLOAT, MIN_PLAINTEXT, TOKEN_OVERHEAD,
};

/// The lengths, in bytes, up to which bloat fills a plaintext. The last class always just fits the limit.
///
/// The class depends on the length alone: a random length would average out over a few tokens.
///
/// # How much a class reveals
///
/// An observer of a cookie's length learns the class of its session: a range of content as wide as the step. Further changes
/// narrow it no further. A session without data, or with a subject alone, has the same class for everybody. Beyond that, up
/// to the default limit of 2800 bytes (some 2,000 of plaintext), there are at most
///
/// | step | classes | reveals of the content's length | bloat beyond the least, at most, on average |
/// | --- | --- | --- | --- |
/// | 64 | 31 | 5.0 bits | 63, 32 bytes |
/// | 128 (the default) | 16 | 4.0 bits | 127, 64 bytes |
/// | 256 | 8 | 3.0 bits | 255, 128 bytes |
/// | [`Fixed`](Self::Fixed) | 1 | nothing | 1,900 bytes |
///
/// if all lengths are equally likely. A value that becomes 8 bytes longer shows in one of 16 sessions with a step of 128, one
/// of 8 with 64, one of 32 with 256. If the mere length of a value is a secret, use a list of two or three classes, or
/// [`Fixed`](Self::Fixed). Requests carry the bloat: base64 makes 4 characters of 3 bytes, so a step of 256 costs 85
/// characters more than 128 on average, in every request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeClasses {
    /// Multiples of this number of bytes. The default is 128.
    Step(usize),
    /// These lengths, in ascending order.
    List(Vec<usize>),
    /// One length for every token: the longest that fits the limit.
    Fixed,
}

impl Default for SizeClasses {
    fn default() -> Self {
        Self::Step(DEFAULT_SIZE_STEP)
    }
}

/// An error in sizes that cannot hold a session.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// The limit is above the most that browsers keep.
    #[error("the limit of {limit} bytes is above the {BROWSER_LIMIT} that browsers keep of a cookie; lower it")]
    AboveBrowserLimit {
        /// The limit of name and value, in bytes.
        limit: usize,
    },
    /// The limit does not hold an empty session.
    #[error(
        "the limit of {limit} bytes does not hold an empty session, which takes {needed} with this name; raise it, or shorten the cookie's name"
    )]
    TooSmall {
        /// The limit of name and value, in bytes.
        limit: usize,
        /// The size of an empty session, in bytes.
        needed: usize,
    },
    /// The step is zero.
    #[error("the step between size classes is zero; the default is {DEFAULT_SIZE_STEP} bytes")]
    ZeroStep,
    /// The list of classes does not ascend.
    #[error("the size classes must ascend; class {position} does not")]
    NotAscending {
        /// The first class, from 1, that is not above the one before it.
        position: usize,
    },
}

/// The limit of a token's length, and the classes that it is filled up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    name_len: usize,
    limit: usize,
    classes: SizeClasses,
}

impl Sizes {
    /// Returns the sizes for a cookie (or header) whose name has `name_len` bytes, with at most `limit` bytes of name and
    /// value.
    ///
    /// # Errors
    ///
    /// [`SizeError`] says what is wrong, and which value would do.
    pub fn new(name_len: usize, limit: usize, classes: SizeClasses) -> Result<Self, SizeError> {
        if limit > BROWSER_LIMIT {
            return Err(SizeError::AboveBrowserLimit { limit });
        }
        let needed = name_len + base64url::encoded_len(TOKEN_OVERHEAD + MIN_PLAINTEXT);
        if limit < needed {
            return Err(SizeError::TooSmall { limit, needed });
        }
        match &classes {
            SizeClasses::Step(0) => return Err(SizeError::ZeroStep),
            SizeClasses::List(classes) => {
                if let Some(index) = classes.windows(2).position(|pair| pair[0] >= pair[1]) {
                    return Err(SizeError::NotAscending { position: index + 2 });
                }
            }
            SizeClasses::Step(_) | SizeClasses::Fixed => {}
        }
        Ok(Self { name_len, limit, classes })
    }

    /// Returns the sizes with the default limit and classes.
    ///
    /// # Errors
    ///
    /// [`SizeError::TooSmall`] if the name alone takes too much of the limit.
    pub fn default_for(name_len: usize) -> Result<Self, SizeError> {
        Self::new(name_len, DEFAULT_LIMIT, SizeClasses::default())
    }

    /// Returns the most bytes of name and value.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the longest plaintext that fits the limit, in bytes.
    #[must_use]
    pub const fn max_plaintext(&self) -> usize {
        let characters = self.limit.saturating_sub(self.name_len);
        // In a last, incomplete group of four, two characters hold one byte and three hold two.
        let bytes = characters / 4 * 3 + (characters % 4).saturating_sub(1);
        // A name of no bytes leaves room for one byte more than a token may have.
        let token = if bytes > MAX_TOKEN { MAX_TOKEN } else { bytes };
        token.saturating_sub(TOKEN_OVERHEAD)
    }

    /// Returns the size of name and value of a token whose plaintext has `plaintext` bytes.
    #[must_use]
    pub const fn cookie_len(&self, plaintext: usize) -> usize {
        self.name_len + base64url::encoded_len(TOKEN_OVERHEAD + plaintext)
    }

    /// Returns the length up to which bloat fills a plaintext with `content` bytes, or `None` if it does not fit.
    pub(crate) fn fill(&self, content: usize) -> Option<usize> {
        let needed = content.checked_add(MIN_BLOAT)?;
        let max = self.max_plaintext();
        if needed > max {
            return None;
        }
        let class = match &self.classes {
            SizeClasses::Step(step) => needed.checked_next_multiple_of(*step),
            SizeClasses::List(classes) => classes.iter().copied().find(|class| *class >= needed),
            SizeClasses::Fixed => None,
        };
        Some(class.unwrap_or(max).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_plaintext_just_fits_the_limit() {
        for limit in 300..=BROWSER_LIMIT {
            let sizes = Sizes::new(14, limit, SizeClasses::default()).expect("large enough");
            let max = sizes.max_plaintext();
            assert!(sizes.cookie_len(max) <= limit && sizes.cookie_len(max + 1) > limit, "limit {limit}");
        }
    }

    #[test]
    fn classes_depend_on_the_length_alone_and_end_with_what_just_fits() {
        let step = Sizes::default_for(14).expect("the default");
        let max = step.max_plaintext();
        assert_eq!((step.fill(0), step.fill(96), step.fill(97)), (Some(128), Some(128), Some(256)));
        assert_eq!((step.fill(max - 32), step.fill(max - 31)), (Some(max), None));

        let list = Sizes::new(14, 2800, SizeClasses::List(vec![300, 1000])).expect("ascending");
        assert_eq!((list.fill(100), list.fill(900), list.fill(969)), (Some(300), Some(1000), Some(max)));

        let fixed = Sizes::new(14, 2800, SizeClasses::Fixed).expect("fits");
        assert_eq!((fixed.fill(0), fixed.fill(max - 32)), (Some(max), Some(max)));
        assert_eq!(fixed.fill(usize::MAX), None);
    }

    #[test]
    fn sizes_that_hold_no_session_are_errors_that_say_what_would() {
        let error = |limit, classes| Sizes::new(14, limit, classes).expect_err("refused").to_string();
        assert!(error(4097, SizeClasses::default()).contains("4096"));
        let needed = 14 + base64url::encoded_len(TOKEN_OVERHEAD + MIN_PLAINTEXT);
        assert!(error(needed - 1, SizeClasses::default()).contains(&needed.to_string()));
        assert!(Sizes::new(14, needed, SizeClasses::default()).is_ok());
        assert!(error(4000, SizeClasses::Step(0)).contains("128"));
        assert!(error(4000, SizeClasses::List(vec![1, 3, 3])).contains("class 3"));
    }
}
