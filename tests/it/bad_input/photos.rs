//! Photos that would hang the program, cost too much, or are something else: `dsi data verify` names each of them.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use image::{ImageFormat, Rgb, RgbImage};

use super::trained;
use crate::fixture::{Outcome, Space};

tests! {
    odd_photos_are_named_with_the_reason,
    odd_photos_that_are_whole_are_read,
    what_is_no_file_is_refused_at_once,
    a_pipe_that_the_user_names_is_read,
    photos_cost_no_more_memory_than_allowed,
}

/// The photos of a corpus: the name and the content.
type Files<'a> = &'a [(&'a str, Vec<u8>)];

fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let photo = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    photo.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png() -> Vec<u8> {
    encoded(40, 30, ImageFormat::Png)
}

/// A PNG chunk.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let bytes = name.iter().chain(content);
    let crc = !bytes.fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    [&(content.len() as u32).to_be_bytes()[..], name, content, &crc.to_be_bytes()].concat()
}

/// A PNG with another header and another chunk after it.
fn png_with(header: &[u8; 13], extra: &[u8]) -> Vec<u8> {
    let png = png();
    [&png[..8], &chunk(b"IHDR", header), extra, &png[33..]].concat()
}

/// This many megabytes of zeros, packed: a zero, and then copies of it.
fn zeros(megabytes: usize) -> Vec<u8> {
    // In fixed codes: the last block (110), a zero (00110000), 258 copies of the byte before, and the end.
    let copies = "1100010100000".chars().cycle().take(13 * ((megabytes << 20) / 258));
    let bits = "11000110000".chars().chain(copies).chain("0000000".chars());
    let mut bytes = vec![0x78, 0x9c];
    for (n, bit) in bits.enumerate() {
        if n % 8 == 0 {
            bytes.push(0);
        }
        *bytes.last_mut().unwrap() |= u8::from(bit == '1') << (n % 8);
    }
    bytes
}

/// A grey progressive JPEG of 8 × 8 pixels: a scan of one value, and then empty scans.
fn of_scans(empty: usize) -> Vec<u8> {
    let segment = |marker: u8, content: &[u8]| {
        [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    };
    let table = |class: u8, symbol: u8| [&[class, 1][..], &[0; 15], &[symbol]].concat();
    let scan = |first, last| segment(0xda, &[1, 1, 0, first, last, 0]);
    let (values, ends) = ([scan(0, 0), vec![0x7f]].concat(), [scan(1, 63), vec![0, 1]].concat());
    let start = [b"\xff\xd8", &segment(0xdb, &[&[0][..], &[1; 64]].concat())[..]].concat();
    let frame = segment(0xc2, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    let tables = [segment(0xc4, &table(0, 0)), segment(0xc4, &table(0x10, 0xe0))].concat();
    [start, frame, tables, values, ends.repeat(empty), b"\xff\xd9".to_vec()].concat()
}

/// A corpus of these photos.
fn corpus(files: Files) -> Space {
    let space = Space::new();
    let line = |(name, bytes): &(&str, Vec<u8>)| {
        space.write(&format!("corpus/{name}"), bytes);
        format!("{{\"image\": \"{name}\", \"split\": \"train\", \"captions\": [\"a photo\"]}}\n")
    };
    space.write("corpus/corpus.jsonl", files.iter().map(line).collect::<String>());
    space
}

fn verified(space: &Space) -> Outcome {
    let config = space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    space.run("data verify").config(config).sets(&space.folders()).output()
}

/// Asserts that each photo is named with the reason, in plain words.
fn named(found: &Outcome, reasons: &[(&str, &str)]) {
    assert_eq!(found.code, Some(1), "{found}");
    for (name, reason) in reasons {
        let line = found.stderr.lines().find(|line| line.contains(&format!("{name}: ")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name}: {reason}: {found}");
    }
    assert!(!found.stderr.contains(" { ") && !found.stderr.contains("ChunkType"), "{found}");
    assert!(found.stderr.contains(&format!("{} of", reasons.len())), "{found}");
}

fn odd_photos_are_named_with_the_reason() {
    let (png, jpeg) = (png(), encoded(40, 30, ImageFormat::Jpeg));
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let of_kind = |marker: u8| [&jpeg[..=frame], &[marker], &jpeg[frame + 2..]].concat();
    let mut damaged = png.clone();
    damaged[100] ^= 4;
    let wide = png_with(&[0, 0, 0x40, 0, 0, 0, 0x40, 0, 1, 0, 0, 0, 0], b"");
    let table: [(&str, Vec<u8>, &str); 15] = [
        ("x.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), "is a HEIC photo, which is not supported"),
        ("x.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1".to_vec(), "is an AVIF photo"),
        ("x.jxl", b"\xff\x0a\xfa\x1f".to_vec(), "is a JPEG XL photo"),
        ("x.tiff", b"II*\0\x08\0\0\0".to_vec(), "is a TIFF photo"),
        ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "git lfs pull"),
        ("page.jpg", b"\n<!doctype html><html>".to_vec(), "is a web page"),
        ("packed.jpg", b"\x1f\x8b\x08\0".to_vec(), "gunzip"),
        ("text.jpg", b"a cube".to_vec(), "is not a JPEG, PNG, WebP, GIF or BMP photo"),
        ("half.png", png[..png.len() / 2].to_vec(), "is cut short"),
        ("damaged.png", damaged, "is a damaged PNG that cannot be decoded"),
        ("large.png", wide, "16384 x 16384 pixels"),
        ("scans.jpg", of_scans(600), "601 scans; at most 500 are allowed"),
        ("half.jpg", jpeg[..jpeg.len() / 2].to_vec(), "is cut short"),
        ("lossless.jpg", of_kind(0xc3), "is a lossless JPEG, which is not supported"),
        ("half.gif", encoded(40, 30, ImageFormat::Gif)[..900].to_vec(), "is cut short"),
    ];
    let files: Vec<_> = table.iter().map(|(name, bytes, _)| (*name, bytes.clone())).collect();
    let reasons: Vec<_> = table.iter().map(|(name, _, reason)| (*name, *reason)).collect();
    named(&verified(&corpus(&files)), &reasons);
}

fn odd_photos_that_are_whole_are_read() {
    let (png, jpeg) = (png(), encoded(40, 30, ImageFormat::Jpeg));
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let arithmetic = [&jpeg[..=frame], &[0xc9], &jpeg[frame + 2..]].concat();
    let mut other_sum = png.clone();
    let end = png.len() - 13;
    other_sum[end] ^= 1;
    let profile = chunk(b"iCCP", &[b"p\0\0", &zeros(8)[..]].concat());
    let header: [u8; 13] = png[16..29].try_into().unwrap();
    let space = corpus(&[
        ("no-end.png", png[..png.len() - 12].to_vec()),
        ("other-sum.png", other_sum),
        ("profile.png", png_with(&header, &profile)),
        ("arithmetic.jpg", arithmetic),
        ("scans.jpg", of_scans(400)),
    ]);
    verified(&space).succeeded();
}

/// Needs no time limit: if the program opened the pipe, it would wait for ever.
fn what_is_no_file_is_refused_at_once() {
    let space = corpus(&[("a.png", png()), ("pipe.png", png()), ("folder.png", png()), ("zero.png", png())]);
    let path = |name: &str| space.path(&format!("corpus/{name}"));
    ["pipe.png", "folder.png", "zero.png"].iter().for_each(|name| fs::remove_file(path(name)).unwrap());
    make_pipe(&path("pipe.png"));
    fs::create_dir(path("folder.png")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero.png")).unwrap();
    named(
        &verified(&space),
        &[
            ("pipe.png", "is a named pipe and not a file"),
            ("folder.png", "is a folder and not a file"),
            ("zero.png", "is a device and not a file"),
        ],
    );
    let clip = space.path("clip");
    crate::fixture::copy(&crate::fixture::repository("data/scenes-clip"), &clip);
    for file in ["preprocessor_config.json", "tokenizer.json", "model.safetensors"] {
        let good = fs::read(clip.join(file)).unwrap();
        fs::remove_file(clip.join(file)).unwrap();
        make_pipe(&clip.join(file));
        let encoder = format!("encoder.path={}", clip.display());
        let outcome = trained().dsi("index", &[encoder]).out(space.path("run")).output();
        outcome.refused(&[file, "is a named pipe and not a file"]);
        fs::remove_file(clip.join(file)).unwrap();
        fs::write(clip.join(file), good).unwrap();
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn a_pipe_that_the_user_names_is_read() {
    let photo = trained().path("corpus/images/scene-000003.png");
    let search = |script: &str| {
        let search = trained().run("search").of("run").args(["-k", "3", "--json"]);
        let mut bash = search.in_bash(script);
        Outcome::new(script.into(), bash.env("PHOTO", &photo).output().unwrap()).succeeded().json()
    };
    assert_eq!(search("\"$@\" --image <(cat \"$PHOTO\")"), search("\"$@\" --image \"$PHOTO\""));
    let space = corpus(&[("a.png", png())]);
    space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    let script = "\"$@\" --config <(cat photos.toml)";
    let mut bash = space.run("data verify").sets(&space.folders()).in_bash(script);
    Outcome::new(script.into(), bash.output().unwrap()).succeeded();
}

/// Photos whose decoding would take far more than the 512 MiB that all threads may use together.
fn photos_cost_no_more_memory_than_allowed() {
    let header: [u8; 13] = png()[16..29].try_into().unwrap();
    let profile = png_with(&header, &chunk(b"iCCP", &[b"p\0\0", &zeros(1024)[..]].concat()));
    let text = chunk(b"zTXt", &[b"Raw profile type exif\0\0", &zeros(99)[..]].concat());
    let names = ["a.png", "b.png", "c.png", "d.png"];
    let mut files = names.map(|name| (name, profile.clone())).to_vec();
    files.push(("text.png", png_with(&header, &text)));
    let space = corpus(&files);
    space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    // The address space, which is more than the memory: the program's own, its threads', and the budget.
    let script = "ulimit -v 3000000; \"$@\" --config photos.toml";
    let mut bash = space.run("data verify").sets(&space.folders()).in_bash(script);
    Outcome::new(script.into(), bash.env("RAYON_NUM_THREADS", "4").output().unwrap()).succeeded();
}
