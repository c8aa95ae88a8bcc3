//! The vault in the model checker: a few requests of one session put, swap, delete and read, one step of a store at a time.
//!
//! A commit puts its blob, swaps the bucket, and then deletes what it replaced. The checker goes through every order of
//! these steps, and lets a request stop dead between any two of them.

use stateright::{Model, Property};

/// The use that a request makes of the session's one private value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Sets it.
    Insert,
    /// Adds its own mark to what is there.
    Update,
    /// Removes it.
    Remove,
    /// Reads it.
    Get,
    /// Ends the session.
    Logout,
}

/// A rule that a request breaks. The checker must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRule {
    /// The bucket is swapped before the blob is put.
    SwapsBeforeItPuts,
    /// A blob that is going to be replaced is deleted before the swap.
    DeletesBeforeItSwaps,
    /// A blob that was replaced is not deleted.
    LeavesTheReplaced,
    /// A commit whose session has ended leaves its blob.
    LeavesItsOwnAfterTheEnd,
    /// A conflict deletes the blob that is about to be referred to again.
    DeletesItsOwnOnAConflict,
    /// A conflict does not run an update again.
    UpdatesOnce,
    /// An update that ran again leaves the blob of its first run.
    LeavesTheFirstRun,
    /// A missing blob is a lost value, whatever the newest token refers to.
    DoesNotLookAgain,
    /// A blob that is missing for the second time is a lost value.
    LooksAgainOnce,
    /// A logout deletes the vault before it removes the bucket.
    DeletesTheVaultFirst,
    /// A logout leaves the vault.
    LeavesTheVault,
}

/// A session with one private value, and the requests that come to it at once.
#[derive(Debug, Clone)]
pub struct VaultModel {
    tasks: Vec<Task>,
    crashes: bool,
    broken: Option<BrokenRule>,
}

impl VaultModel {
    /// Returns the model of these requests, none of which crashes.
    #[must_use]
    pub fn of(tasks: &[Task]) -> Self {
        Self { tasks: tasks.to_vec(), crashes: false, broken: None }
    }

    /// Lets every request stop dead between any two of its steps.
    #[must_use]
    pub fn crashing(self) -> Self {
        Self { crashes: true, ..self }
    }

    /// Breaks a rule.
    #[must_use]
    pub fn breaking(self, rule: BrokenRule) -> Self {
        Self { broken: Some(rule), ..self }
    }

    fn breaks(&self, rule: BrokenRule) -> bool {
        self.broken == Some(rule)
    }
}

/// The name of a blob: which request made it, at which of its runs. The session's first value has none.
type BlobName = (u8, u8);
const FIRST: BlobName = (u8::MAX, 0);

/// A blob: its name, and the marks of the updates in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Blob {
    name: BlobName,
    marks: u8,
}

/// The blob that the newest token refers to, at a revision of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Newest {
    revision: u8,
    refers_to: Option<BlobName>,
}

/// The state of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Loads,
    /// Reads the blob that an update begins from.
    Begins(Newest),
    Puts(Newest, Blob),
    Swaps(Newest, Option<Blob>),
    /// Deletes these, and is done.
    Deletes([Option<BlobName>; 2]),
    /// Looks for the blob; `true` if the newest token was asked for before.
    Reads(Newest, bool),
    LooksAgain(Newest),
    DeletesTheVault,
    RemovesTheBucket,
    Done,
    Crashed,
}

/// A moment of the session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The bucket, or nothing once the session has ended.
    bucket: Option<Newest>,
    blobs: Vec<Blob>,
    steps: Vec<Step>,
    /// The blobs that runs of updates have made and no token is going to refer to.
    outrun: Vec<Option<BlobName>>,
    /// Set to `true` if a request took a value for lost.
    lost: bool,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happening {
    /// A request takes its next step.
    Step(usize),
    /// A request stops dead.
    Crash(usize),
}

impl Moment {
    fn find(&self, name: BlobName) -> Option<Blob> {
        self.blobs.iter().copied().find(|blob| blob.name == name)
    }

    fn put(&mut self, blob: Blob) {
        if self.find(blob.name).is_none() {
            self.blobs.push(blob);
            self.blobs.sort_unstable();
        }
    }

    fn delete(&mut self, name: BlobName) {
        self.blobs.retain(|blob| blob.name != name);
    }

    fn is_over(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Done | Step::Crashed))
    }

    fn has_crashed(&self) -> bool {
        self.steps.contains(&Step::Crashed)
    }
}

impl VaultModel {
    fn next(&self, moment: &mut Moment, index: usize) -> Step {
        let task = self.tasks[index];
        let own = u8::try_from(index).unwrap_or(u8::MAX);
        match moment.steps[index] {
            Step::Loads => match (task, moment.bucket) {
                (Task::Logout, _) if self.breaks(BrokenRule::DeletesTheVaultFirst) => Step::DeletesTheVault,
                (Task::Logout, _) => Step::RemovesTheBucket,
                (_, None) => Step::Done,
                (Task::Get, Some(newest)) => Step::Reads(newest, false),
                (Task::Update, Some(newest)) => Step::Begins(newest),
                (Task::Insert, Some(newest)) => self.with_blob(newest, Blob { name: (own, 0), marks: 0 }, moment),
                (Task::Remove, Some(newest)) => self.without_blob(newest, moment),
            },
            Step::Begins(newest) => self.begin_update(moment, index, newest),
            Step::Puts(newest, blob) => {
                moment.put(blob);
                if self.breaks(BrokenRule::SwapsBeforeItPuts) {
                    return Step::Deletes([newest.refers_to, None]);
                }
                Step::Swaps(newest, Some(blob))
            }
            Step::Swaps(base, blob) => self.swap(moment, index, base, blob),
            Step::Deletes(names) => {
                names.into_iter().flatten().for_each(|name| moment.delete(name));
                Step::Done
            }
            Step::Reads(newest, has_looked_again) => match newest.refers_to {
                Some(name) if moment.find(name).is_none() => {
                    let gives_up = self.breaks(BrokenRule::DoesNotLookAgain)
                        || has_looked_again && self.breaks(BrokenRule::LooksAgainOnce);
                    moment.lost |= gives_up;
                    if gives_up { Step::Done } else { Step::LooksAgain(newest) }
                }
                _ => Step::Done,
            },
            Step::LooksAgain(before) => match moment.bucket {
                None => Step::Done,
                Some(newest) if newest.refers_to == before.refers_to => {
                    moment.lost = true;
                    Step::Done
                }
                Some(newest) => Step::Reads(newest, true),
            },
            Step::RemovesTheBucket => {
                let was_there = moment.bucket.take().is_some();
                match was_there && !self.breaks(BrokenRule::LeavesTheVault) {
                    true if !self.breaks(BrokenRule::DeletesTheVaultFirst) => Step::DeletesTheVault,
                    _ => Step::Done,
                }
            }
            Step::DeletesTheVault => {
                moment.blobs.clear();
                if self.breaks(BrokenRule::DeletesTheVaultFirst) { Step::RemovesTheBucket } else { Step::Done }
            }
            over @ (Step::Done | Step::Crashed) => over,
        }
    }

    fn with_blob(&self, newest: Newest, blob: Blob, moment: &mut Moment) -> Step {
        if self.breaks(BrokenRule::DeletesBeforeItSwaps) {
            newest.refers_to.into_iter().for_each(|name| moment.delete(name));
        }
        if self.breaks(BrokenRule::SwapsBeforeItPuts) {
            return Step::Swaps(newest, Some(blob));
        }
        Step::Puts(newest, blob)
    }

    fn without_blob(&self, newest: Newest, moment: &mut Moment) -> Step {
        if self.breaks(BrokenRule::DeletesBeforeItSwaps) {
            newest.refers_to.into_iter().for_each(|name| moment.delete(name));
        }
        Step::Swaps(newest, None)
    }

    /// Reads what an update begins from, and runs it.
    fn begin_update(&self, moment: &mut Moment, index: usize, newest: Newest) -> Step {
        let own = u8::try_from(index).unwrap_or(u8::MAX);
        let marks = match newest.refers_to {
            None => 0,
            Some(name) => match moment.find(name) {
                Some(blob) => blob.marks,
                // Another request has replaced it: begin from the newest.
                None => match moment.bucket {
                    None => return Step::Deletes([moment.outrun[index], None]),
                    Some(now) if now.refers_to != Some(name) => return Step::Begins(now),
                    Some(_) => {
                        moment.lost = true;
                        return Step::Done;
                    }
                },
            },
        };
        let run = moment.outrun[index].map_or(0, |(_, run)| run + 1);
        self.with_blob(newest, Blob { name: (own, run), marks: marks | 1 << index }, moment)
    }

    fn swap(&self, moment: &mut Moment, index: usize, base: Newest, blob: Option<Blob>) -> Step {
        let own = blob.map(|blob| blob.name);
        let Some(now) = moment.bucket else {
            let leaves = self.breaks(BrokenRule::LeavesItsOwnAfterTheEnd);
            return Step::Deletes(if leaves { [None; 2] } else { [own, moment.outrun[index]] });
        };
        if now.revision == base.revision {
            moment.bucket = Some(Newest { revision: now.revision + 1, refers_to: own });
            if self.breaks(BrokenRule::SwapsBeforeItPuts)
                && let Some(blob) = blob
            {
                return Step::Puts(base, blob);
            }
            let replaced = base.refers_to.filter(|_| !self.breaks(BrokenRule::LeavesTheReplaced));
            let outrun = moment.outrun[index].filter(|_| !self.breaks(BrokenRule::LeavesTheFirstRun));
            return Step::Deletes([replaced, outrun]);
        }
        // Another request was faster. A set value is referred to again; an update runs again if its value was replaced.
        if self.breaks(BrokenRule::DeletesItsOwnOnAConflict) {
            own.into_iter().for_each(|name| moment.delete(name));
        }
        let is_replaced = now.refers_to != base.refers_to;
        if self.tasks[index] == Task::Update && is_replaced && !self.breaks(BrokenRule::UpdatesOnce) {
            // The blob of the run before goes with that of this one.
            if let Some(before) = moment.outrun[index].filter(|_| !self.breaks(BrokenRule::LeavesTheFirstRun)) {
                moment.delete(before);
            }
            moment.outrun[index] = own;
            return Step::Begins(now);
        }
        Step::Swaps(now, blob)
    }
}

impl Model for VaultModel {
    type State = Moment;
    type Action = Happening;

    fn init_states(&self) -> Vec<Moment> {
        let steps = vec![Step::Loads; self.tasks.len()];
        let first = Blob { name: FIRST, marks: 0 };
        vec![Moment {
            bucket: Some(Newest { revision: 0, refers_to: Some(FIRST) }),
            blobs: vec![first],
            outrun: vec![None; steps.len()],
            steps,
            lost: false,
        }]
    }

    fn actions(&self, moment: &Moment, happenings: &mut Vec<Happening>) {
        for (index, step) in moment.steps.iter().enumerate() {
            if !matches!(step, Step::Done | Step::Crashed) {
                happenings.push(Happening::Step(index));
                happenings.extend((self.crashes && *step != Step::Loads).then_some(Happening::Crash(index)));
            }
        }
    }

    fn next_state(&self, moment: &Moment, happening: Happening) -> Option<Moment> {
        let mut next = moment.clone();
        match happening {
            Happening::Step(index) => next.steps[index] = self.next(&mut next, index),
            Happening::Crash(index) => next.steps[index] = Step::Crashed,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what the newest token refers to is there", |_, moment: &Moment| {
                let refers_to = moment.bucket.and_then(|newest| newest.refers_to);
                refers_to.is_none_or(|name| moment.find(name).is_some())
            }),
            Property::always("no value is taken for lost", |_, moment: &Moment| !moment.lost),
            Property::always("nothing else is left in the end", |_, moment: &Moment| {
                let kept = moment.bucket.and_then(|newest| newest.refers_to);
                !moment.is_over() || moment.has_crashed() || moment.blobs.iter().all(|blob| Some(blob.name) == kept)
            }),
            Property::always("no update is lost", |model: &Self, moment: &Moment| {
                // If nobody sets, removes or ends anything, all marks are there in the end.
                let is_of_updates = |task: &Task| matches!(task, Task::Update | Task::Get);
                if !moment.is_over() || moment.has_crashed() || !model.tasks.iter().all(is_of_updates) {
                    return true;
                }
                let updates = model.tasks.iter().enumerate().filter(|(_, task)| **task == Task::Update);
                let all = updates.fold(0_u8, |marks, (index, _)| marks | 1 << index);
                let kept = moment.bucket.and_then(|newest| newest.refers_to).and_then(|name| moment.find(name));
                kept.is_some_and(|blob| blob.marks == all)
            }),
            Property::sometimes("a conflict", |_, moment: &Moment| {
                moment.bucket.is_some_and(|newest| {
                    let lags = |step: &Step| matches!(step, Step::Swaps(base, _) if base.revision < newest.revision);
                    moment.steps.iter().any(lags)
                })
            }),
        ]
    }
}
