//! Files that can't be committed: what is said about each, as root and as an ordinary user.

use palisade::desired::load;
use palisade::names::Names;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

const POLICY: &str = "version: 1\n";

/// A folder that only this user can write, with a good policy in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    set_mode(folder.path(), 0o755);
    write(&folder.path().join("policy.yaml"), POLICY);
    folder
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the file can be written");
    set_mode(path, 0o644);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode can be set");
}

/// What is said about a file of the folder, with the folder called FOLDER.
fn said(folder: &TempDir, file: &str) -> String {
    match load(&folder.path().join(file), &Names::default()) {
        Ok(_) => "no problem was found".to_owned(),
        Err(problems) => problems.render(false).replace(&folder.path().display().to_string(), "FOLDER"),
    }
}

fn error(message: &str, help: &str) -> String {
    format!("error: {message}\n |\n = help: {help}\n")
}

#[test]
fn a_file_that_only_its_owner_can_write_is_read() {
    assert_eq!(said(&folder(), "policy.yaml"), "no problem was found");
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    assert_eq!(said(&folder(), "polcy.yaml"), "error: FOLDER/polcy.yaml does not exist\n");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    assert_eq!(
        said(&folder(), "nowhere/policy.yaml"),
        "error: FOLDER/nowhere/policy.yaml does not exist: there is no FOLDER/nowhere\n"
    );
}

#[test]
fn a_folder_is_no_policy() {
    let folder = folder();
    fs::create_dir(folder.path().join("palisade")).expect("a folder");
    set_mode(&folder.path().join("palisade"), 0o755);
    assert_eq!(
        said(&folder, "palisade"),
        error("FOLDER/palisade is a folder", "name the file in it: `FOLDER/palisade/policy.yaml`")
    );
}

#[test]
fn a_file_is_no_folder() {
    assert_eq!(said(&folder(), "policy.yaml/policy.yaml"), "error: FOLDER/policy.yaml is not a folder\n");
}

#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let folder = folder();
    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    assert_eq!(said(&folder, "pipe"), "error: FOLDER/pipe is a pipe, not a file\n");
}

#[test]
fn a_device_is_no_policy() {
    let folder = folder();
    symlink("/dev/null", folder.path().join("device")).expect("a link");
    assert_eq!(said(&folder, "device"), "error: /dev/null is a character device, not a file\n");
}

#[test]
fn a_socket_is_no_policy() {
    let folder = folder();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("a socket");
    assert_eq!(said(&folder, "socket"), "error: FOLDER/socket is a socket, not a file\n");
}

#[test]
fn a_file_of_a_hundred_megabytes_is_no_policy() {
    let folder = folder();
    let file = File::create(folder.path().join("huge.yaml")).expect("a file");
    file.set_len(100 << 20).expect("a sparse file");
    set_mode(&folder.path().join("huge.yaml"), 0o644);
    assert_eq!(
        said(&folder, "huge.yaml"),
        error(
            "FOLDER/huge.yaml has more than 8 MiB",
            "long lists of addresses belong into files of their own: `{ file: PATH }`"
        )
    );
}

#[test]
fn a_file_that_everyone_can_write_is_refused() {
    let folder = folder();
    set_mode(&folder.path().join("policy.yaml"), 0o666);
    assert_eq!(
        said(&folder, "policy.yaml"),
        error(
            "FOLDER/policy.yaml can be written by everyone, who could change the firewall with it",
            "`chmod go-w FOLDER/policy.yaml`"
        )
    );
}

#[test]
fn a_file_that_its_group_can_write_is_refused() {
    let folder = folder();
    set_mode(&folder.path().join("policy.yaml"), 0o664);
    assert_eq!(
        said(&folder, "policy.yaml"),
        error(
            "FOLDER/policy.yaml can be written by its group, who could change the firewall with it",
            "`chmod g-w FOLDER/policy.yaml`"
        )
    );
}

#[test]
fn a_folder_above_it_that_everyone_can_write_is_refused() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("open/inner")).expect("folders");
    set_mode(&folder.path().join("open"), 0o777);
    set_mode(&folder.path().join("open/inner"), 0o755);
    write(&folder.path().join("open/inner/policy.yaml"), POLICY);
    assert_eq!(
        said(&folder, "open/inner/policy.yaml"),
        error(
            "the folder FOLDER/open can be written by everyone, who could change the firewall with it",
            "`chmod go-w FOLDER/open`"
        )
    );
}

#[test]
fn a_link_into_a_folder_that_everyone_can_write_is_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("open")).expect("a folder");
    set_mode(&folder.path().join("open"), 0o777);
    write(&folder.path().join("open/policy.yaml"), POLICY);
    symlink("open/policy.yaml", folder.path().join("link.yaml")).expect("a link");
    assert_eq!(
        said(&folder, "link.yaml"),
        error(
            "the folder FOLDER/open can be written by everyone, who could change the firewall with it",
            "`chmod go-w FOLDER/open`"
        )
    );
}

#[test]
fn a_link_that_lies_in_a_folder_that_everyone_can_write_is_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("open")).expect("a folder");
    set_mode(&folder.path().join("open"), 0o777);
    symlink("../policy.yaml", folder.path().join("open/link.yaml")).expect("a link");
    assert_eq!(
        said(&folder, "open/link.yaml"),
        error(
            "the folder FOLDER/open can be written by everyone, who could change the firewall with it",
            "`chmod go-w FOLDER/open`"
        )
    );
}

#[test]
fn links_between_safe_folders_are_followed() {
    let folder = folder();
    fs::create_dir(folder.path().join("inner")).expect("a folder");
    set_mode(&folder.path().join("inner"), 0o755);
    symlink("../policy.yaml", folder.path().join("inner/relative.yaml")).expect("a link");
    symlink(folder.path().join("inner"), folder.path().join("absolute")).expect("a link");
    assert_eq!(said(&folder, "absolute/relative.yaml"), "no problem was found");
}

#[test]
fn a_ring_of_links_ends() {
    let folder = folder();
    symlink("b", folder.path().join("a")).expect("a link");
    symlink("a", folder.path().join("b")).expect("a link");
    assert_eq!(
        said(&folder, "a"),
        error("FOLDER/a goes through more than 40 links", "check that no link leads back to itself: `namei -l PATH`")
    );
}

#[test]
fn a_sticky_folder_such_as_tmp_is_safe_for_what_belongs_to_this_user() {
    let folder = folder();
    fs::create_dir(folder.path().join("sticky")).expect("a folder");
    set_mode(&folder.path().join("sticky"), 0o1777);
    write(&folder.path().join("sticky/policy.yaml"), POLICY);
    assert_eq!(said(&folder, "sticky/policy.yaml"), "no problem was found");
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !nix::unistd::Uid::effective().is_root() {
        return; // Only root can give a file away.
    }
    let folder = folder();
    let path = folder.path().join("policy.yaml");
    std::os::unix::fs::chown(&path, Some(1), None).expect("root can give it away");
    assert_eq!(
        said(&folder, "policy.yaml"),
        error(
            "FOLDER/policy.yaml belongs to daemon, who could change the firewall with it",
            "`chown root FOLDER/policy.yaml`"
        )
    );
}

#[test]
fn a_file_of_a_group_is_refused_at_the_line_that_names_it() {
    let folder = folder();
    write(&folder.path().join("policy.yaml"), "version: 1\nblock:\n  - { file: list.txt }\n");
    write(&folder.path().join("list.txt"), "192.0.2.1\n");
    set_mode(&folder.path().join("list.txt"), 0o666);
    assert_eq!(
        said(&folder, "policy.yaml"),
        "\
error: FOLDER/list.txt can be written by everyone, who could change the firewall with it
 --> FOLDER/policy.yaml:3:13
  |
3 |   - { file: list.txt }
  |             ^^^^^^^^
  |
  = help: `chmod go-w FOLDER/list.txt`
"
    );
}

#[test]
fn a_file_of_a_group_that_is_not_utf8_is_refused_with_its_line() {
    let folder = folder();
    write(&folder.path().join("policy.yaml"), "version: 1\nblock:\n  - { file: list.txt }\n");
    fs::write(folder.path().join("list.txt"), b"192.0.2.1\n# caf\xe9\n").expect("a file");
    set_mode(&folder.path().join("list.txt"), 0o644);
    assert_eq!(
        said(&folder, "policy.yaml"),
        "\
error: `FOLDER/list.txt` is not UTF-8: the byte 0xe9 stands here in line 2
 --> FOLDER/policy.yaml:3:13
  |
3 |   - { file: list.txt }
  |             ^^^^^^^^
  |
  = help: save it as UTF-8; `iconv -f LATIN1 -t UTF-8` turns an old Western European file into it
"
    );
}

#[test]
fn the_default_policy_that_is_not_there_comes_with_a_beginning() {
    let problem = palisade::desired::missing(Path::new(palisade::desired::DEFAULT_PATH));
    assert_eq!(
        (problem.message.as_str(), problem.help.as_deref()),
        (
            "/etc/palisade/policy.yaml does not exist",
            Some(
                "write one that lets you in, `version: 1` and below it `services: { ssh: { ports: 22/tcp, from: any } }`, \
                 or name another with --policy"
            )
        )
    );
}
