//! What `vmbisect bisect` says to input that can't be right: a sentence, a hint, exit status 2, and
//! nothing left behind.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use git2::{Repository, Signature};
use rustix::process::{Pid, Signal, kill_process};
use vmbisect::history::{CommitId, Find};
use vmbisect::journal::{Event, Header, Journal, Resumption};
use vmbisect::trial::Target;

/// Four commits in a line, the last of them HEAD.
fn repository() -> (tempfile::TempDir, Vec<CommitId>) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repository::init(dir.path()).unwrap();
    let author = Signature::now("A U Thor", "author@example.org").unwrap();
    let mut line = Vec::new();
    for title in ["one", "two", "three", "four"] {
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parent = line.last().map(|&oid| repo.find_commit(oid).unwrap());
        let parents: Vec<_> = parent.iter().collect();
        line.push(repo.commit(Some("HEAD"), &author, &author, title, &tree, &parents).unwrap());
    }
    (dir, line.into_iter().map(CommitId::from).collect())
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    command.arg("bisect").args(arguments).current_dir(dir).env("VMBISECT_CACHE", dir.join("cache"));
    command
}

fn bisect(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// Runs it, and gives what it said of its failure.
#[track_caller]
fn refused(dir: &Path, arguments: &[&str]) -> String {
    said(bisect(dir, arguments))
}

#[track_caller]
fn said(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

const SOUGHT: [&str; 2] = ["--tinyconfig", "--any-crash"];

#[test]
fn revisions_that_do_not_fit() {
    let (dir, _) = repository();
    let cases = [
        (["--good", "v9", "--bad", "HEAD"], "no commit named \"v9\"", "git fetch --tags"),
        (["--good", "HEAD", "--bad", "HEAD~2"], "swapped", "exchange --good and --bad"),
        (["--good", "HEAD", "--bad", "HEAD"], "as good and as bad", "--good is"),
    ];
    for (range, sentence, hint) in cases {
        let said = refused(dir.path(), &[&range[..], &SOUGHT].concat());
        assert!(!said.contains("class="), "{said}");
        assert!(said.contains(sentence) && said.contains("\nhint: "), "{said}");
        assert!(said.contains(hint), "{said}");
    }
    assert!(!dir.path().join(".git/vmbisect").exists());
}

#[test]
fn no_repository() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(dir.path(), &[&["--good", "v1"][..], &SOUGHT].concat());
    assert!(said.contains("not in a git repository") && said.contains("--repo"), "{said}");
}

#[test]
fn a_good_tip_on_another_branch() {
    let (dir, line) = repository();
    let repo = Repository::open(dir.path()).unwrap();
    let author = Signature::now("A U Thor", "author@example.org").unwrap();
    let first = repo.find_commit(line[0].to_string().parse().unwrap()).unwrap();
    let aside = repo.commit(None, &author, &author, "aside", &first.tree().unwrap(), &[&first]);
    let aside = aside.unwrap().to_string();
    let launcher = ["--launcher", "command:false"];
    let said = refused(dir.path(), &[&["--good", &aside][..], &SOUGHT, &launcher].concat());
    assert!(said.contains("is not an ancestor of HEAD"), "{said}");
    assert!(said.contains(&line[0].short()), "the merge base stands for it: {said}");
    // Which is as far as it gets with something that is no kernel.
    assert!(said.contains("not a Linux source tree") && said.contains("\nhint: "), "{said}");
}

#[test]
fn no_compiler_and_no_configuration() {
    let (dir, _) = repository();
    let range = ["--good", "HEAD~2", "--any-crash"];
    let said_of = |more: &[&str]| refused(dir.path(), &[&range[..], more].concat());
    let said_ = said_of(&["--tinyconfig", "--cc", "no-such-gcc"]);
    assert!(said_.contains("the build needs no-such-gcc") && said_.contains("\nhint: "), "{said_}");
    let said_ = said_of(&["--config", "no/such/config"]);
    assert!(said_.contains("no/such/config") && said_.contains("--tinyconfig"), "{said_}");

    // Where only git is to be found.
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let git = vmbisect::tools::on_path("git").unwrap();
    std::os::unix::fs::symlink(git, bin.join("git")).unwrap();
    let mut command = command(dir.path(), &[&range[..], &["--tinyconfig"]].concat());
    let said_ = said(command.env("PATH", &bin).output().unwrap());
    assert!(
        said_.contains("the build needs gcc") && said_.contains("apt-get install gcc"),
        "{said_}"
    );
    assert!(!dir.path().join(".git/vmbisect").exists());
}

#[test]
fn what_is_missing_on_the_command_line() {
    let (dir, _) = repository();
    assert!(refused(dir.path(), &["--good", "HEAD~1", "--tinyconfig"]).contains("--crash"));
    assert!(refused(dir.path(), &["--good", "HEAD~1", "--any-crash"]).contains("--defconfig"));
    assert!(refused(dir.path(), &SOUGHT).contains("--good"));
    let said = refused(dir.path(), &["--resume", "--vcpus", "4"]);
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn a_suspicion_that_makes_no_difference_is_told() {
    let (dir, line) = repository();
    let range = ["--good", "HEAD~3", "--suspect", "HEAD~3", "--launcher", "command:false"];
    let said = refused(dir.path(), &[&range[..], &SOUGHT, &["--", "nett/"]].concat());
    assert!(said.contains(&format!("{} is not suspected", line[0].short())), "{said}");
    assert!(said.contains("nett/ makes no commit likelier"), "{said}");
    assert!(said.contains(&format!("state: {}", dir.path().display())), "{said}");
}

#[test]
fn titles_and_numbers_that_can_not_be() {
    let (dir, _) = repository();
    let range = ["--good", "HEAD~3", "--tinyconfig"];
    let said = refused(dir.path(), &[&range[..], &["--crash", " "]].concat());
    assert!(said.contains("it is empty"), "{said}");
    let said = refused(dir.path(), &[&range[..], &["--any-crash", "--jobs", "0"]].concat());
    assert!(said.contains("must be a number from 1 up"), "{said}");
}

#[test]
fn nothing_to_resume() {
    let (dir, _) = repository();
    let said = refused(dir.path(), &["--resume"]);
    assert!(said.contains("no bisection in") && said.contains("leave out --resume"), "{said}");
}

#[test]
fn a_journal_that_somebody_else_is_at_work_on() {
    let (dir, line) = repository();
    let state = dir.path().join(".git/vmbisect");
    let header = Header {
        format: Header::FORMAT,
        vmbisect: "0".into(),
        at_ms: 0,
        repo: dir.path().into(),
        find: Find::Cause,
        good: vec![line[0]],
        bad: line[3],
        titles: Default::default(),
        target: Target::AnyCrash,
        confidence: 0.95,
        arguments: Vec::new(),
        directory: dir.path().into(),
        config: String::new(),
    };
    let mut journal = Journal::create(&state, &header).unwrap();
    journal.append(Event::Resumed(Resumption::default())).unwrap();
    let said = refused(dir.path(), &["--resume"]);
    assert!(said.contains("another vmbisect is at work") && said.contains("--state"), "{said}");
    // Nothing is started by this launcher before the first trial.
    let begin = ["--good", "HEAD~3", "--tinyconfig", "--any-crash", "--launcher", "command:false"];
    let said = refused(dir.path(), &begin);
    assert!(said.contains("another vmbisect is at work") && said.contains("--state"), "{said}");
    drop(journal);
    let said = refused(dir.path(), &begin);
    assert!(said.contains("already") && said.contains("--resume --state"), "{said}");

    // Begun by something that was not this command line: an error, not a wrong answer. Who names
    // the journal need not be in its repository.
    let elsewhere = tempfile::tempdir().unwrap();
    let said = refused(elsewhere.path(), &["--resume", "--state", state.to_str().unwrap()]);
    assert!(said.contains("does not know the command that began"), "{said}");
    assert!(said.contains("\nhint: ") && !said.contains("error: error"), "{said}");
}

#[test]
fn a_state_directory_that_can_not_be_made() {
    let (dir, _) = repository();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let range = ["--good", "HEAD~3", "--launcher", "command:false", "--state", "file/state"];
    let said = refused(dir.path(), &[&range[..], &SOUGHT].concat());
    assert!(said.contains("can't write") && said.contains("file/state"), "{said}");
    assert!(said.contains("--state DIR"), "{said}");
    let range = ["--good", "HEAD~3", "--launcher", "command:false", "--state", "file"];
    let said = refused(dir.path(), &[&range[..], &SOUGHT].concat());
    assert!(said.contains("that you may write to: --state DIR"), "{said}");
}

/// An error with nobody to hear it is an exit status still, not a panic.
#[test]
fn nobody_reads() {
    let (dir, _) = repository();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(dir.path(), &["--resume"]);
    let status = command.stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn errors_as_json() {
    let (dir, _) = repository();
    let output = bisect(dir.path(), &["--json", "--resume"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(said["error"].as_str().unwrap().contains("no bisection in"), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("--resume"), "{said}");
}

/// Runs git in a repository.
fn git(dir: &Path, arguments: &[&str]) -> String {
    let ran = Command::new("git").arg("-C").arg(dir).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// A clone that lacks something, as git makes it over a network.
fn clone(dir: &Path, options: &[&str]) -> tempfile::TempDir {
    git(dir, &["config", "uploadpack.allowFilter", "true"]);
    let clone = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.display());
    let to = clone.path().to_str().unwrap();
    git(dir, &[&["clone", "--quiet", "--no-checkout"], options, &[&url, to]].concat());
    clone
}

#[test]
fn a_history_that_is_not_whole_or_not_what_it_seems() {
    let (dir, line) = repository();
    let names: Vec<String> = line.iter().map(CommitId::to_string).collect();
    let range = |good: &str, bad: &str| -> Vec<String> {
        let range = ["--good", good, "--bad", bad].map(str::to_owned).into_iter();
        range.chain(SOUGHT.map(str::to_owned)).collect()
    };
    let said = |dir: &Path, good: &str, bad: &str| {
        let arguments = range(good, bad);
        let said = refused(dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains("\nhint: "), "{said}");
        said
    };

    // Cut off: the older end is not there, and a branch that reaches behind the cut.
    let shallow = clone(dir.path(), &["--depth", "2"]);
    let said_ = said(shallow.path(), &names[0], "HEAD");
    assert!(said_.contains("a shallow clone") && said_.contains("--unshallow"), "{said_}");
    let tree = git(shallow.path(), &["rev-parse", "HEAD^{tree}"]);
    let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
    let aside = [&author[..], &["commit-tree", &tree, "-m", "aside"]].concat();
    let aside = git(shallow.path(), &aside);
    let said_ = said(shallow.path(), &aside, "HEAD");
    assert!(said_.contains("the history is cut off at"), "{said_}");

    // Whose files are fetched one by one, and which git says libgit2 can't read.
    let partial = clone(dir.path(), &["--filter=tree:0"]);
    git(partial.path(), &["config", "core.repositoryformatversion", "1"]);
    git(partial.path(), &["config", "extensions.partialclone", "origin"]);
    let said_ = said(partial.path(), "HEAD~1", "HEAD");
    assert!(said_.contains("is a partial clone") && said_.contains("without --filter"), "{said_}");

    // Nothing in common.
    let island = [&author[..], &["commit-tree", &tree, "-m", "island"]].concat();
    let island = git(dir.path(), &island);
    let said_ = said(dir.path(), &island, "HEAD");
    assert!(said_.contains("have no common history"), "{said_}");

    // A name of what is no commit.
    git(dir.path(), &["tag", "v0.1-tree", &tree]);
    let said_ = said(dir.path(), "v0.1-tree", "HEAD");
    assert!(said_.contains("no commit named \"v0.1-tree\""), "{said_}");

    // Other commits in the place of those in the range, and other parents.
    git(dir.path(), &["replace", &names[2], &island]);
    let said_ = said(dir.path(), &names[0], "HEAD");
    assert!(said_.contains("git replace -d") && said_.contains(&names[2]), "{said_}");
    git(dir.path(), &["replace", "-d", &names[2]]);
    std::fs::create_dir_all(dir.path().join(".git/info")).unwrap();
    std::fs::write(dir.path().join(".git/info/grafts"), format!("{} {island}\n", names[2]))
        .unwrap();
    let said_ = said(dir.path(), &names[0], "HEAD");
    assert!(said_.contains("info/grafts gives"), "{said_}");
    assert!(!dir.path().join(".git/vmbisect").exists());
}

/// While git lists the range, and while it says what the commits of the range change.
#[test]
fn ctrl_c_while_git_is_at_work() {
    let (dir, _) = repository();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let told = bin.join("told");
    assert!(Command::new("mkfifo").arg(&told).status().unwrap().success());
    let git = vmbisect::tools::on_path("git").unwrap();
    let path = std::env::var("PATH").unwrap();
    for (slow, says) in [("rev-list", "before anything was begun"), ("log", "--resume --state")] {
        // It says who it is, and never ends.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' {slow} '*) echo $$ > '{}'; exec tail -f /dev/null;; \
             esac\nexec '{}' \"$@\"\n",
            told.display(),
            git.display()
        );
        std::fs::write(bin.join("git"), script).unwrap();
        std::fs::set_permissions(bin.join("git"), PermissionsExt::from_mode(0o755)).unwrap();
        let range = ["--good", "HEAD~3", "--launcher", "command:false"];
        let mut command = command(dir.path(), &[&range[..], &SOUGHT, &["--", "net"]].concat());
        command.env("PATH", format!("{}:{path}", bin.display()));
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let git_id = std::fs::read_to_string(&told).unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("interrupted") && said.contains(says), "{said}");
        assert!(!Path::new("/proc").join(git_id.trim()).exists(), "git {git_id} still runs");
    }
}
