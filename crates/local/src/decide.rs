//! What to do about one file, from what is there, what was written and what is wanted. Pure.

use landfall_model::id::Digest;

use crate::folder::Disk;
use crate::manifest::Written;

/// What to do about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is missing, or as it was written but not as it is wanted.
    Write,
    /// It is as wanted.
    Leave,
    /// It was edited since it was written: people's edits win.
    Keep,
    /// It is no longer wanted, and as it was written.
    Delete,
    /// It is no longer wanted, and gone.
    Forget,
    /// It is no longer wanted, but was edited since it was written.
    LeaveBehind,
    /// Something that was never written from here is in the way.
    Refuse,
}

/// Decides about one file.
pub(crate) fn decide(disk: &Disk, written: Option<&Written>, wanted: Option<&Digest>) -> Verdict {
    let is_ours = disk
        .digest()
        .is_some_and(|is| written.is_some_and(|written| written.may_be(is)));
    match (disk, wanted) {
        (Disk::Missing, Some(_)) => Verdict::Write,
        (Disk::Missing, None) => Verdict::Forget,
        (Disk::Blocked(_), Some(_)) => Verdict::Refuse,
        (Disk::File(is), Some(wanted)) if is == wanted => Verdict::Leave,
        (_, Some(_)) if is_ours => Verdict::Write,
        (_, Some(_)) if written.is_some() => Verdict::Keep,
        (_, Some(_)) => Verdict::Refuse,
        (_, None) if is_ours => Verdict::Delete,
        (_, None) => Verdict::LeaveBehind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case() {
        let text = |text: &str| Digest::of(text);
        let file = |content: &str| Disk::File(text(content));
        let known = |written: Option<&str>, pending: Option<&str>| Written {
            written: written.map(text),
            pending: pending.map(text),
        };
        let link = || Disk::Other("a symbolic link");
        let blocked = || Disk::Blocked("its folder is a symbolic link".to_owned());
        let old = || Some(known(Some("old"), None));
        let half = || Some(known(Some("old"), Some("new")));
        let first = || Some(known(None, Some("new")));
        let new = || Some(text("new"));
        for (disk, written, wanted, verdict) in [
            (Disk::Missing, None, new(), Verdict::Write),
            (Disk::Missing, old(), new(), Verdict::Write),
            (Disk::Missing, old(), None, Verdict::Forget),
            (file("new"), None, new(), Verdict::Leave),
            (file("new"), old(), new(), Verdict::Leave),
            (file("old"), old(), new(), Verdict::Write),
            (file("edited"), old(), new(), Verdict::Keep),
            (file("edited"), None, new(), Verdict::Refuse),
            (file("old"), old(), None, Verdict::Delete),
            (file("edited"), old(), None, Verdict::LeaveBehind),
            // Left by a process that died: the old text, the new one, or an edit of either.
            (file("old"), half(), new(), Verdict::Write),
            (file("new"), half(), new(), Verdict::Leave),
            (file("new"), half(), Some(text("newer")), Verdict::Write),
            (file("new"), half(), None, Verdict::Delete),
            (file("edited"), half(), new(), Verdict::Keep),
            (file("edited"), first(), new(), Verdict::Keep),
            (file("new"), first(), None, Verdict::Delete),
            // What is no plain file is never written through or removed.
            (link(), None, new(), Verdict::Refuse),
            (link(), old(), new(), Verdict::Keep),
            (link(), old(), None, Verdict::LeaveBehind),
            (blocked(), None, new(), Verdict::Refuse),
            (blocked(), old(), new(), Verdict::Refuse),
            (blocked(), old(), None, Verdict::LeaveBehind),
        ] {
            assert_eq!(
                decide(&disk, written.as_ref(), wanted.as_ref()),
                verdict,
                "{disk:?} {written:?} {wanted:?}"
            );
        }
    }
}
