//! Real repositories in temporary directories.

use git2::{Oid, Repository, Signature, Time};

use super::{History, HistoryError};
use crate::history::{CommitId, Find};

struct Fixture {
    dir: tempfile::TempDir,
    repo: Repository,
    clock: std::cell::Cell<i64>,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init(dir.path()).unwrap();
        Fixture { dir, repo, clock: std::cell::Cell::new(1_600_000_000) }
    }

    fn commit(&self, title: &str, parents: &[Oid]) -> Oid {
        let when = self.clock.replace(self.clock.get() + 60);
        let author = Signature::new("A U Thor", "author@example.org", &Time::new(when, 60));
        let author = author.unwrap();
        let blob = self.repo.blob(format!("{title}\n").as_bytes()).unwrap();
        let mut tree = self.repo.treebuilder(None).unwrap();
        tree.insert("file", blob, 0o100_644).unwrap();
        let tree = self.repo.find_tree(tree.write().unwrap()).unwrap();
        let parents: Vec<_> =
            parents.iter().map(|&oid| self.repo.find_commit(oid).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        let message = format!("{title}\n\nBody of {title}.\n");
        self.repo.commit(None, &author, &author, &message, &tree, &parents).unwrap()
    }

    fn history(&self) -> History {
        History::open(self.dir.path()).unwrap()
    }
}

#[test]
fn merges_and_their_branches_are_candidates() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let good = fixture.commit("good", &[root]);
    let main = fixture.commit("main", &[good]);
    let side1 = fixture.commit("side 1", &[root]);
    let side2 = fixture.commit("side 2", &[side1]);
    let merge = fixture.commit("merge", &[main, side2]);
    let bad = fixture.commit("bad", &[merge]);
    let history = fixture.history();
    let candidates = history.candidates(&[good.into()], bad.into()).unwrap();
    assert_eq!(candidates.len(), 5);
    let graph = candidates.graph();
    let rev = |oid: Oid| candidates.rev(oid.into()).unwrap();
    assert_eq!(graph.bad_tip(), Some(rev(bad)));
    assert_eq!(graph.good_tips(), [rev(good)]);
    assert_eq!(graph.parents(rev(merge)), [rev(main), rev(side2)]);
    // The branch left the main line before the good tip: its base is outside, and known.
    assert_eq!(graph.parents(rev(side1)), [rev(root)]);
    assert!(!graph.is_candidate(rev(root)));
    for child in 0..candidates.len() as u32 {
        assert!(graph.candidate_parents(child).all(|parent| parent < child));
    }
    assert_eq!(history.title(side2.into()).unwrap(), "side 2");
    let text = history.text(merge.into()).unwrap();
    assert_eq!(text.merged, [CommitId::from(main), CommitId::from(side2)]);
    assert!(text.diffstat.contains("1 file changed"), "{}", text.diffstat);
}

#[test]
fn tips_that_do_not_fit_are_told_apart() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let bad = fixture.commit("bad", &[root]);
    let other = fixture.commit("other branch", &[root]);
    let island = fixture.commit("island", &[]);
    let history = fixture.history();
    let error = |good: Oid| history.candidates(&[good.into()], bad.into()).unwrap_err();
    assert!(matches!(error(bad), HistoryError::Equal { .. }));
    assert!(matches!(error(island), HistoryError::Unrelated { .. }));
    let not_ancestor = error(other);
    assert!(matches!(&not_ancestor, HistoryError::NotAncestor { merge_base, .. }
        if *merge_base == root.into()));
    assert!(not_ancestor.hint().contains(&CommitId::from(root).short()));
    let swapped = history.candidates(&[bad.into()], root.into()).unwrap_err();
    assert!(matches!(swapped, HistoryError::Swapped { .. }));
    assert!(matches!(history.candidates(&[], bad.into()), Err(HistoryError::NoGood)));
    assert!(matches!(history.resolve("v6.1"), Err(HistoryError::UnknownRevision { .. })));
}

#[test]
fn what_stands_for_ends_on_other_branches() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let fork = fixture.commit("fork", &[root]);
    let main = fixture.commit("main", &[fork]);
    let bad = fixture.commit("bad", &[main]);
    let [one, two] = ["one", "two"].map(|title| fixture.commit(title, &[fork]));
    let island = fixture.commit("island", &[]);
    let history = fixture.history();
    let range = |find: Find, older: &[Oid], newer: Oid| {
        let older: Vec<CommitId> = older.iter().copied().map(CommitId::from).collect();
        history.range(find, &older, newer.into())
    };
    let found = range(Find::Cause, &[one, two, fork, root], bad).unwrap();
    let [one, two, fork, root] = [one, two, fork, root].map(CommitId::from);
    // The root lies below another end, so that it is nobody's parent.
    assert_eq!(found.older, [fork, root]);
    assert_eq!(found.parted, [(one, fork), (two, fork)]);
    assert_eq!((found.candidates.len(), found.candidates.graph().good_tips().len()), (2, 2));
    let bad = bad.into();
    assert_eq!(history.candidates(&[fork, root], bad).unwrap().len(), 2);
    let error =
        |find, older: CommitId, newer: CommitId| history.range(find, &[older], newer).unwrap_err();
    let swapped = error(Find::Cause, bad, fork);
    assert!(matches!(swapped, HistoryError::Swapped { good, .. } if good == bad), "{swapped}");
    let before = error(Find::Fix, bad, fork);
    assert!(matches!(before, HistoryError::FixedBefore { good, .. } if good == fork), "{before}");
    assert!(matches!(error(Find::Fix, bad, bad), HistoryError::Equal { .. }));
    assert!(matches!(error(Find::Fix, island.into(), bad), HistoryError::Unrelated { .. }));
}

#[test]
fn tags_are_peeled() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let tagger = Signature::now("T", "t@example.org").unwrap();
    let object = fixture.repo.find_object(root, None).unwrap();
    fixture.repo.tag("v1.0", &object, &tagger, "release", false).unwrap();
    assert_eq!(fixture.history().resolve("v1.0").unwrap(), root.into());
}

#[test]
fn changed_paths_by_commit() {
    let fixture = Fixture::new();
    let good = fixture.commit("good", &[]);
    let main = fixture.commit("main", &[good]);
    let side = fixture.commit("side", &[good]);
    let merge = fixture.commit("main", &[main, side]);
    let evil = fixture.commit("evil", &[merge, side]);
    let changes = |limits: &[&str]| {
        let limits: Vec<String> = limits.iter().map(|&limit| limit.to_owned()).collect();
        fixture.history().changes(&[good.into()], evil.into(), &limits).unwrap()
    };
    let all = changes(&[]);
    // A merge that takes a file from one side changes nothing; one that has its own does.
    let mut changing: Vec<CommitId> = all.keys().copied().collect();
    let mut expected: Vec<CommitId> = [main, side, evil].map(CommitId::from).to_vec();
    changing.sort();
    expected.sort();
    assert_eq!(changing, expected);
    assert_eq!(all[&main.into()], ["file"]);
    assert_eq!(changes(&["file"]).len(), 3);
    assert!(changes(&["drivers/net"]).is_empty());
    let error = fixture.history().changes(&[], evil.into(), &[":(bad)x".into()]).unwrap_err();
    assert!(matches!(error, HistoryError::Log { .. }), "{error}");
}

#[test]
fn outside_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let error = History::open(dir.path()).unwrap_err();
    assert!(matches!(error, HistoryError::NotARepository { .. }), "{error}");
}

/// A clone made by git itself, to the given depth, with `fixture`'s commit on its branch.
fn git_clone(fixture: &Fixture, head: Oid, options: &[&str]) -> tempfile::TempDir {
    fixture.repo.reference("refs/heads/line", head, true, "").unwrap();
    fixture.repo.config().unwrap().set_bool("uploadpack.allowFilter", true).unwrap();
    let clone = tempfile::tempdir().unwrap();
    let url = format!("file://{}", fixture.dir.path().display());
    let status = std::process::Command::new("git")
        .args(["clone", "--quiet", "--bare", "--branch", "line"])
        .args(options)
        .arg(url)
        .arg(clone.path())
        .status()
        .unwrap();
    assert!(status.success());
    clone
}

#[test]
fn a_shallow_clone_is_told() {
    let fixture = Fixture::new();
    let mut line = vec![fixture.commit("0", &[])];
    for i in 1..6 {
        line.push(fixture.commit(&i.to_string(), &[line[i - 1]]));
    }
    // A branch that is older than the clone reaches, merged within the range.
    let side = fixture.commit("side", &[line[0]]);
    let merge = fixture.commit("merge", &[line[5], side]);
    let clone = git_clone(&fixture, merge, &["--depth", "3"]);
    let history = History::open(clone.path()).unwrap();
    let error = history.candidates(&[line[4].into()], merge.into()).unwrap_err();
    assert!(matches!(error, HistoryError::Shallow { .. }), "{error}");
    assert!(error.hint().contains("--unshallow"));
    // A revision behind the cut is not there at all.
    let error = history.resolve(&line[2].to_string()).unwrap_err();
    assert!(error.to_string().contains("a shallow clone"), "{error}");
    assert!(error.hint().contains("--unshallow"), "{}", error.hint());
    // Ends that are given the wrong way round are told as that.
    let error = history.candidates(&[merge.into()], line[4].into()).unwrap_err();
    assert!(matches!(error, HistoryError::Swapped { .. }), "{error}");
    // Where the cut is behind the good tip, it does not matter.
    let clone = git_clone(&fixture, line[5], &["--depth", "3"]);
    let history = History::open(clone.path()).unwrap();
    assert_eq!(history.candidates(&[line[4].into()], line[5].into()).unwrap().len(), 1);
}

#[test]
fn a_partial_clone_has_commits_and_lacks_only_the_diffstat() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let bad = fixture.commit("bad", &[root]);
    let clone = git_clone(&fixture, bad, &["--filter=tree:0"]);
    let history = History::open(clone.path()).unwrap();
    assert_eq!(history.candidates(&[root.into()], bad.into()).unwrap().len(), 1);
    let text = history.text(bad.into()).unwrap();
    assert_eq!((text.title.as_str(), text.diffstat.as_str()), ("bad", ""));
    // git may also mark it as a repository of another format, which libgit2 does not open.
    let mut config = git2::Config::open(&clone.path().join("config")).unwrap();
    config.set_i32("core.repositoryformatversion", 1).unwrap();
    config.set_str("extensions.partialclone", "origin").unwrap();
    let error = History::open(clone.path()).unwrap_err();
    assert!(matches!(error, HistoryError::PartialClone { .. }), "{error}");
}

#[test]
fn what_git_shows_otherwise_than_it_is_is_refused() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let middle = fixture.commit("middle", &[root]);
    let bad = fixture.commit("bad", &[middle]);
    let other = fixture.commit("other", &[root]);
    let candidates = |good: Oid| fixture.history().candidates(&[good.into()], bad.into());
    fixture.repo.reference(&format!("refs/replace/{middle}"), other, true, "").unwrap();
    let error = candidates(root).unwrap_err();
    assert!(matches!(error, HistoryError::Replaced { at } if at == middle.into()), "{error}");
    assert!(error.hint().contains(&format!("git replace -d {middle}")), "{}", error.hint());
    // The good end is built as well.
    let error = candidates(middle).unwrap_err();
    assert!(matches!(error, HistoryError::Replaced { .. }), "{error}");
    fixture.repo.find_reference(&format!("refs/replace/{middle}")).unwrap().delete().unwrap();
    // Outside the range it does not matter.
    let twin = fixture.commit("twin", &[]);
    fixture.repo.reference(&format!("refs/replace/{root}"), twin, true, "").unwrap();
    candidates(middle).unwrap();
    fixture.repo.find_reference(&format!("refs/replace/{root}")).unwrap().delete().unwrap();
    let info = fixture.dir.path().join(".git/info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(info.join("grafts"), format!("{middle}\n")).unwrap();
    let error = candidates(root).unwrap_err();
    assert!(matches!(error, HistoryError::Grafted { at } if at == middle.into()), "{error}");
}

#[test]
fn releases_are_those_before_and_below() {
    let fixture = Fixture::new();
    let mut line = vec![fixture.commit("0", &[])];
    for i in 1..8 {
        line.push(fixture.commit(&i.to_string(), &[line[i - 1]]));
    }
    // A stable series on a branch of its own, and a tag that is none of a release.
    let stable = fixture.commit("stable", &[line[2]]);
    let newer = fixture.commit("newer stable", &[stable]);
    let tag = |name: &str, oid: Oid| {
        let object = fixture.repo.find_object(oid, None).unwrap();
        fixture.repo.tag_lightweight(name, &object, false).unwrap();
    };
    for (name, oid) in [
        ("v5.9", line[0]),
        ("v5.10-rc1", line[1]),
        ("v5.10", line[2]),
        ("v5.10.1", stable),
        ("v5.11", line[4]),
        ("v5.12-rc1", line[5]),
        ("v5.12", line[7]),
        ("vim", line[1]),
    ] {
        tag(name, oid);
    }
    let history = fixture.history();
    let before = |oid: Oid| -> Vec<String> {
        let releases = history.releases(oid.into()).unwrap();
        releases.into_iter().map(|release| release.name).collect()
    };
    assert_eq!(before(line[6]), ["v5.11", "v5.10", "v5.9"]);
    assert_eq!(before(line[7]), ["v5.11", "v5.10", "v5.9"]);
    assert_eq!(before(newer), ["v5.10.1", "v5.10", "v5.9"]);
    assert_eq!(before(line[0]), [] as [&str; 0]);
    for name in ["v5.9", "v5.10", "v5.11"] {
        fixture.repo.tag_delete(name).unwrap();
    }
    assert_eq!(before(line[6]), ["v5.12-rc1", "v5.10-rc1"]);
}

#[test]
fn a_tag_of_no_commit() {
    let fixture = Fixture::new();
    let root = fixture.commit("root", &[]);
    let tree = fixture.repo.find_commit(root).unwrap().tree().unwrap();
    fixture.repo.tag_lightweight("v0.1-tree", tree.as_object(), false).unwrap();
    let error = fixture.history().resolve("v0.1-tree").unwrap_err();
    assert!(matches!(error, HistoryError::UnknownRevision { .. }), "{error}");
}
