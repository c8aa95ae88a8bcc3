//! The tags by which a store finds sessions: of subjects, and of groups.

use secure_sessions_core::{Bucket, GroupTag, SubjectTag};

/// The tags that a list or an ending goes by.
///
/// Several tags of one kind are those of one subject, or of one group, while the fingerprint keys are being changed.
#[derive(Debug, Clone, Copy)]
pub enum Tags<'a> {
    /// The buckets with one of these subjects.
    Subjects(&'a [SubjectTag]),
    /// The buckets with one of these groups: a group is the sessions that began with one session at an identity provider.
    Groups(&'a [GroupTag]),
}

impl<'a> Tags<'a> {
    /// Returns `true` if this bucket has one of the tags.
    #[must_use]
    pub fn covers(&self, bucket: &Bucket) -> bool {
        match self {
            Self::Subjects(subjects) => bucket.subject.is_some_and(|subject| subjects.contains(&subject)),
            Self::Groups(groups) => bucket.group.is_some_and(|group| groups.contains(&group)),
        }
    }

    /// Returns `true` if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns the tags one by one.
    pub fn iter(&self) -> impl Iterator<Item = Tag> + use<'a> {
        let (subjects, groups): (&'a [SubjectTag], &'a [GroupTag]) = match *self {
            Self::Subjects(subjects) => (subjects, &[]),
            Self::Groups(groups) => (&[], groups),
        };
        subjects.iter().copied().map(Tag::Subject).chain(groups.iter().copied().map(Tag::Group))
    }
}

/// One tag of a bucket, for a store that keeps an index of its own. The two kinds are never mixed up, even with equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// The tag of a subject.
    Subject(SubjectTag),
    /// The tag of a group.
    Group(GroupTag),
}

impl Tag {
    /// Returns the tags of a bucket, under each of which it is found: none, one or two.
    pub fn of(bucket: &Bucket) -> impl Iterator<Item = Self> + use<> {
        let subject = bucket.subject.map(Self::Subject);
        subject.into_iter().chain(bucket.group.map(Self::Group))
    }

    /// Returns `true` if the bucket has this tag.
    #[must_use]
    pub fn is_of(&self, bucket: &Bucket) -> bool {
        match self {
            Self::Subject(subject) => bucket.subject.as_ref() == Some(subject),
            Self::Group(group) => bucket.group.as_ref() == Some(group),
        }
    }

    /// Returns its bytes, without its kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        match self {
            Self::Subject(subject) => subject.as_bytes(),
            Self::Group(group) => group.as_bytes(),
        }
    }
}
