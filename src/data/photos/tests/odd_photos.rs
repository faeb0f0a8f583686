//! Photos that would cost too much, and files that are no photos.

use super::*;

#[test]
fn memory_is_counted_before_it_is_used() {
    let needed = |bytes: &[u8]| {
        let mut most = 0;
        decode::decode(bytes, &mut |needed, _| {
            most = needed;
            Ok(())
        })
        .map(|_| most)
    };
    let png = encoded(red_then_blue(64, 64), ImageFormat::Png);
    // A colour profile that says of itself that it is packed, and is not; texts without end.
    let profile = chunk(b"iCCP", &[b"p\0\0", &[b'x'; 99_999][..]].concat());
    let texts = chunk(b"zTXt", &[b"t\0\0", &[b'x'; 9_999][..]].concat()).repeat(99);
    for extra in [profile, texts] {
        let png = with_chunk(&png, &extra);
        assert!(needed(&png).unwrap() < png.len() as u64 + (3 << 20));
    }
    let mut large = png.clone();
    large[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let header = chunk(b"IHDR", &large[16..29]);
    large.splice(8..33, header);
    let what = decode(&large).unwrap_err();
    assert!(what.contains("has 16384 x 16384 pixels, which need"), "{what}");
    assert!(what.contains("MiB of memory to decode; 512 MiB are allowed; make it smaller"), "{what}");
    let header = chunk(b"IHDR", &[&[0, 1, 0, 0, 0, 0, 0, 1][..], &large[24..29]].concat());
    let wide = [&large[..8], &header, &large[33..]].concat();
    assert!(decode(&wide).unwrap_err().contains("65536 x 1 pixels; at most 16384 a side"));
    let mut large = of_scans(1);
    let at = large.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    large[at + 5..at + 9].copy_from_slice(&[0x40, 0, 0x40, 0]);
    assert!(decode(&large).unwrap_err().contains("MiB are allowed"));
}

#[test]
fn many_scans_are_refused() {
    assert_eq!(decode(&of_scans(499)).unwrap().dimensions(), (8, 8));
    let what = decode(&of_scans(500)).unwrap_err();
    assert!(what.contains("501 scans; at most 500 are allowed"), "{what}");
}

#[test]
fn what_a_file_is_instead_of_a_photo_is_said() {
    for (bytes, what) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid"[..], "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photo, which is not supported; convert it"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "is an AVIF photo"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL photo"),
        (b"II*\0\x08\0\0\0", "is a TIFF photo"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\0\0\0\x14ftypqt  ", "is a video"),
        (b"just a text", "is not a JPEG, PNG, WebP, GIF or BMP photo"),
    ] {
        let refusal = decode(bytes).unwrap_err();
        assert!(refusal.contains(what), "{refusal}");
    }
}

#[test]
fn threads_that_find_no_room_wait_and_read_the_same() {
    /// Room for one of the photos below, and not for two.
    static ONE: Budget = Budget::new(4 << 20);
    let folder = tempfile::tempdir().unwrap();
    let photo = |n: u32| {
        let path = folder.path().join(format!("{n}.png"));
        std::fs::write(&path, encoded(red_then_blue(300 + n, 200), ImageFormat::Png)).unwrap();
        Photo::File(path)
    };
    let photos: Vec<Photo> = (0..24).map(photo).collect();
    std::thread::scope(|scope| {
        for copies in [0, 1, 2, 9] {
            let photos = &photos;
            scope.spawn(move || {
                for (n, photo) in (0..).zip(photos) {
                    assert_eq!(*read_within(&ONE, photo, copies).unwrap(), red_then_blue(300 + n, 200));
                }
            });
        }
    });
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_only_if_the_user_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("p.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refusal = read(&Photo::File(pipe.clone())).unwrap_err().to_string();
    assert!(refusal.contains("p.png: is a named pipe and not a file"), "{refusal}");
    assert_eq!(hashes(&[Photo::File(pipe.clone())]), [None]);
    let given = Photo::Given(pipe.clone());
    let writer =
        std::thread::spawn(move || std::fs::write(pipe, encoded(red_then_blue(4, 2), ImageFormat::Png)));
    assert_eq!(*read(&given).unwrap(), red_then_blue(4, 2));
    writer.join().unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn damaged_photos_of_rare_kinds_never_panic_and_stay_within_the_memory(
        kind in 0usize..6,
        flips in prop::collection::vec(any::<(usize, u8)>(), 0..5),
        cut in 0usize..40,
    ) {
        let png = encoded(red_then_blue(16, 16), ImageFormat::Png);
        let six = turned_right(3, [0, 6, 0, 0]);
        let bytes = [
            of_scans(3),
            one_pixel_gif(4, 4, b"!\xf9\x04\x01\0\0\x02\0"),
            with_chunk(&png, &chunk(b"eXIf", &six)),
            with_chunk(&png, &chunk(b"zTXt", b"Raw profile type exif\0\0x\x9c\x03\0\0\0\0\x01")),
            [&png[..26], b"\0\0\x01", &png[29..]].concat(),
            [b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x1e\0\0\0\x0f\0\0\x0f\0\0EXIF\x1a\0\0\0", &six[..]].concat(),
        ];
        let bytes = damaged(&bytes[kind], &flips, cut);
        let _ = decode::decode(&bytes, &mut |needed, _| {
            assert!(needed <= MAX_MEMORY);
            // Enough for what these photos are when they are whole.
            if needed < 64 << 20 { Ok(()) } else { Err(needed) }
        });
    }
}
