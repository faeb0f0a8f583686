//! Photos of every kind, whole and damaged.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, Rgba, RgbaImage};
use proptest::prelude::*;

use super::super::tests::damaged;
use super::*;

mod odd_photos;
mod pillow;

/// The pixels, or the words of the refusal.
fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    decode::decode(bytes, &mut |_, _| Ok(())).map_err(|fault| match fault {
        Fault::Refused(what) => what,
        Fault::NoRoom(bytes) => panic!("there is room for {bytes} bytes"),
    })
}

fn encoded(photo: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    photo.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn red_then_blue(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { [250, 0, 0] } else { [0, 0, 250] }))
}

/// A PNG chunk.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = !0u32;
    for byte in name.iter().chain(content) {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 });
    }
    let length = (content.len() as u32).to_be_bytes();
    [&length[..], name, content, &(!crc).to_be_bytes()].concat()
}

/// A PNG with another chunk after its header.
fn with_chunk(png: &[u8], chunk: &[u8]) -> Vec<u8> {
    [&png[..33], chunk, &png[33..]].concat()
}

/// EXIF data that turns a photo to the right: big-endian, a number of this type and these bytes.
fn turned_right(kind: u8, number: [u8; 4]) -> Vec<u8> {
    [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0", &[kind][..], b"\0\0\0\x01", &number, b"\0\0\0\0"].concat()
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

/// A GIF of this canvas, whose one frame is one pixel of colour 1 at (1, 1); `control` comes before the frame.
fn one_pixel_gif(width: u8, height: u8, control: &[u8]) -> Vec<u8> {
    let screen = [b"GIF89a", &[width, 0, height, 0, 0x81, 3, 0][..]].concat();
    let palette = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
    let frame = b",\x01\0\x01\0\x01\0\x01\0\0\x02\x02\x4c\x01\0;";
    [&screen, &palette[..], control, frame].concat()
}

#[test]
fn every_kind_becomes_rgb() {
    let photo = red_then_blue(16, 8);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP] {
        assert_eq!(decode(&encoded(photo.clone(), format)).unwrap(), photo, "{format:?}");
    }
    let alpha = RgbaImage::from_pixel(2, 2, Rgba([10, 20, 30, 0]));
    assert_eq!(decode(&encoded(alpha, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [10, 20, 30]);
    let deep = image::ImageBuffer::from_pixel(2, 2, image::Luma([0x8080u16]));
    assert_eq!(decode(&encoded(deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [128; 3]);
}

#[test]
fn the_orientation_of_the_camera_is_applied() {
    let jpeg = encoded(red_then_blue(16, 8), ImageFormat::Jpeg);
    // APP1: "Exif", big-endian TIFF, one entry: tag 0x112 (orientation), type short, count 1, value 6
    // (turn right)
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = decode(&[&jpeg[..2], exif, &jpeg[2..]].concat()).unwrap();
    assert_eq!(turned.dimensions(), (8, 16));
    assert!(turned.get_pixel(4, 1)[0] > 200 && turned.get_pixel(4, 14)[2] > 200);
}

#[test]
fn the_bad_photo_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = encoded(red_then_blue(64, 64), ImageFormat::Jpeg);
    let png = encoded(red_then_blue(64, 64), ImageFormat::Png);
    let mut huge = png.clone();
    huge[16..20].copy_from_slice(&40_000u32.to_be_bytes());
    let contents: [(&str, &[u8], &str); 7] = [
        ("png-called.jpg", &png, ""),
        ("empty.jpg", b"", "empty (0 bytes)"),
        ("cut.jpg", &jpeg[..jpeg.len() / 2], "cut short"),
        ("head.jpg", &jpeg[..30], "cut short"),
        ("cut.png", &png[..png.len() / 2], "cannot be decoded"),
        ("page.jpg", b"<html>not found</html>", "is a web page"),
        ("huge.png", &huge, "cannot be decoded"),
    ];
    let mut files: Vec<_> = contents.iter().map(|(name, ..)| folder.path().join(name)).collect();
    for (file, (_, bytes, _)) in files.iter().zip(&contents) {
        std::fs::write(file, bytes).unwrap();
    }
    files.push(folder.path().join("missing.jpg"));
    let files: Vec<_> = files.into_iter().map(Photo::File).collect();
    let results = decode_batch(&files, &Preprocess::clip(8).unwrap());
    assert_eq!(results[0].as_ref().unwrap().len(), 8 * 8 * 3);
    for (result, (name, _, expected)) in results.iter().zip(&contents).skip(1) {
        let text = result.as_ref().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(expected), "{text}");
    }
    assert!(results[7].as_ref().unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn a_thumbnail_does_not_hide_that_the_end_is_missing() {
    let jpeg = encoded(red_then_blue(64, 64), ImageFormat::Jpeg);
    let segment = [b"\xff\xe1", &(jpeg.len() as u16 + 2).to_be_bytes()[..], &jpeg].concat();
    let whole = [&jpeg[..2], &segment, &jpeg[2..]].concat();
    assert!(decode(&whole).is_ok());
    assert!(decode(&whole[..whole.len() - 9]).unwrap_err().contains("cut short"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn damaged_photos_never_panic(
        kind in 0usize..5,
        flips in prop::collection::vec(any::<(usize, u8)>(), 0..5),
        cut in 0usize..40,
    ) {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        let bytes = encoded(red_then_blue(16, 16), [Jpeg, Png, WebP, Gif, Bmp][kind]);
        let _ = decode(&damaged(&bytes, &flips, cut));
    }
}
