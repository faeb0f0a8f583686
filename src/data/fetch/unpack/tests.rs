//! Accepted and refused archives.

use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::*;
use crate::data::tests::damaged;

const SOUND: [(&str, &[u8]); 6] = [
    ("Set/", b""),
    ("Set/a.jpg", b"A"),
    ("Set/deep/b.JPG", b"BB"),
    ("Set/notes.txt", b"no photo"),
    ("__MACOSX/Set/._a.jpg", b"hidden"),
    ("Set/.DS_Store.png", b"hidden"),
];

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        match name.ends_with('/') {
            true => zip.add_directory(*name, SimpleFileOptions::default()).unwrap(),
            false => {
                zip.start_file(*name, SimpleFileOptions::default()).unwrap();
                zip.write_all(content).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

/// Writes the headers directly: the library refuses to write some invalid ones.
fn tarred(entries: &[(&str, &[u8])], kind: tar::EntryType) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { kind });
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Unpacks an archive of this name and content, and returns the result and its folder.
fn unpacked(name: &str, bytes: &[u8], output: Output) -> (Result<usize>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join(name);
    fs::write(&archive, bytes).unwrap();
    (unpack(&archive, output, &folder.path().join("out").join(output.path()), Progress::Hidden), folder)
}

#[test]
fn photos_come_out_of_all_kinds_of_archives_into_one_folder() {
    let tar = tarred(&SOUND, tar::EntryType::Regular);
    for (name, bytes) in [("x.zip", zipped(&SOUND)), ("x.tar.gz", gzipped(&tar)), ("x.tar", tar)] {
        let (count, folder) = unpacked(name, &bytes, Output::Photos("images"));
        assert_eq!(count.unwrap(), 2, "{name}");
        let images = folder.path().join("out/images");
        assert_eq!(fs::read(images.join("b.JPG")).unwrap(), b"BB");
        assert_eq!(fs::read_dir(&images).unwrap().count(), 2);
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
    }
    let (_, folder) = unpacked("x.zip", &zipped(&SOUND), Output::File("notes.txt"));
    assert_eq!(fs::read(folder.path().join("out/notes.txt")).unwrap(), b"no photo");
}

#[test]
fn paths_outside_are_refused_and_leave_nothing() {
    for evil in ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "..\\a.jpg", "C:/a.jpg", "a\\b.jpg", "../x.txt"] {
        let entries: [(&str, &[u8]); 2] = [("good.jpg", b"G"), (evil, b"E")];
        for (name, bytes) in
            [("x.zip", zipped(&entries)), ("x.tar", tarred(&entries, tar::EntryType::Regular))]
        {
            let (result, folder) = unpacked(name, &bytes, Output::Photos("images"));
            let message = result.unwrap_err().to_string();
            let shown: String = evil.escape_debug().collect();
            assert!(message.contains(&shown) && message.contains("leads outside"), "{name} {message}");
            assert!(!folder.path().join("out/images").exists());
            assert!(!folder.path().join("a.jpg").exists() && !folder.path().join("out/a.jpg").exists());
        }
    }
}

#[test]
fn links_duplicates_and_foreign_files_are_refused() {
    let refusal = |name, bytes: &[u8]| unpacked(name, bytes, Output::Photos("i")).0.unwrap_err().to_string();
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        assert!(refusal("x.tar", &tarred(&[("a.jpg", b"")], kind)).contains("`a.jpg` is a link"));
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("a.jpg", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert!(refusal("x.zip", &zip.finish().unwrap().into_inner()).contains("`a.jpg` is a link"));
    assert!(
        refusal("x.zip", &zipped(&[("1/a.jpg", b"A"), ("2/a.jpg", b"B")])).contains("`2/a.jpg` has the name")
    );
    assert!(refusal("x.zip", &zipped(&[("a.txt", b"A")])).contains("no photos"));
    assert!(refusal("x.zip", b"<html>login</html>").contains("cannot be unpacked"));
    let whole = zipped(&[("a.jpg", &[7; 5000])]);
    assert!(refusal("x.zip", &whole[..whole.len() * 9 / 10]).contains("x.zip: cannot be unpacked"));
    let tar = tarred(&[("a.jpg", &[7; 5000])], tar::EntryType::Regular);
    assert!(refusal("x.tar", &tar[..2000]).contains("x.tar: cannot be unpacked"));
}

/// Zeros compress a thousandfold.
#[test]
fn an_archive_that_expands_too_much_is_refused() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a.jpg", SimpleFileOptions::default()).unwrap();
    io::copy(&mut io::repeat(0).take(MAX_BYTES[0] + 1), &mut zip).unwrap();
    let (result, _) = unpacked("x.zip", &zip.finish().unwrap().into_inner(), Output::Photos("i"));
    assert!(result.unwrap_err().to_string().contains("`a.jpg` is too large"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_archives_never_panic(kind in 0usize..3, flips: Vec<(usize, u8)>, cut: usize) {
        let tar = tarred(&SOUND, tar::EntryType::Regular);
        let (name, bytes) = [("x.zip", zipped(&SOUND)), ("x.tgz", gzipped(&tar)), ("x.tar", tar)][kind].clone();
        let _ = unpacked(name, &damaged(&bytes, &flips, cut % 64), Output::Photos("images"));
    }
}
