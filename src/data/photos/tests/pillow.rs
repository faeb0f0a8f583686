//! Photos that are read as Pillow reads them.

use super::*;

fn pixels(photo: &RgbImage) -> Vec<[u8; 3]> {
    photo.pixels().map(|pixel| pixel.0).collect()
}

#[test]
fn every_place_of_the_orientation_is_looked_at() {
    let (photo, six) = (red_then_blue(16, 8), turned_right(4, 6u32.to_be_bytes()));
    let [png, jpeg] = [ImageFormat::Png, ImageFormat::Jpeg].map(|format| encoded(photo.clone(), format));
    let lines = six.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let profile = [b"Raw profile type exif\0\nexif\n 26\n", lines.as_bytes(), b"\n"].concat();
    let xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>";
    for chunk in [chunk(b"eXIf", &six), chunk(b"tEXt", &profile), chunk(b"iTXt", xmp)] {
        assert_eq!(decode(&with_chunk(&png, &chunk)).unwrap().dimensions(), (8, 16));
        let after = [&png[..png.len() - 12], &chunk, &png[png.len() - 12..]].concat();
        assert_eq!(decode(&after).unwrap().dimensions(), (8, 16));
    }
    let app1 =
        |content: &[u8]| [b"\xff\xe1", &(content.len() as u16 + 2).to_be_bytes()[..], content].concat();
    let exif = |content: &[u8]| app1(&[b"Exif\0\0", content].concat());
    let (one, xmp) =
        (turned_right(3, [0, 1, 0, 0]), app1(b"http://ns.adobe.com/xap/1.0/\0tiff:Orientation=\"6\""));
    let halves = [exif(&six[..9]), exif(&six[9..])].concat();
    for (segments, size) in [
        (exif(&six), (8, 16)),
        ([exif(&six), exif(&one)].concat(), (8, 16)),
        ([exif(&one), exif(&six)].concat(), (16, 8)),
        (halves, (8, 16)),
        (xmp.clone(), (8, 16)),
        ([xmp, exif(&one)].concat(), (16, 8)),
    ] {
        assert_eq!(decode(&[&jpeg[..2], &segments, &jpeg[2..]].concat()).unwrap().dimensions(), size);
    }
}

#[test]
fn a_png_is_read_if_all_its_pixels_are_there() {
    let photo = red_then_blue(40, 30);
    let png = encoded(photo.clone(), ImageFormat::Png);
    let end = png.len() - 12;
    for cut in 1..=16 {
        assert_eq!(decode(&png[..png.len() - cut]).unwrap(), photo, "{cut}");
    }
    let mut other_sum = png.clone();
    other_sum[end - 1] ^= 1;
    assert_eq!(decode(&other_sum).unwrap(), photo);
    for cut in [17, 20, 40, png.len() / 2, png.len() - 30] {
        let what = decode(&png[..png.len() - cut]).unwrap_err();
        assert!(what.contains("is cut short") && what.contains("PNG"), "{what}");
    }
    // A wrong bit in the pixels, which both checksums notice; or in the header.
    for at in [60, 20] {
        let mut damaged = png.clone();
        damaged[at] ^= 4;
        assert!(decode(&damaged).unwrap_err().contains("is a damaged PNG"), "{at}");
    }
}

#[test]
fn arithmetic_coding_is_read_and_other_rare_kinds_are_named() {
    let jpeg = encoded(red_then_blue(16, 8), ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let of_kind = |marker: u8, bits: u8| {
        let mut jpeg = jpeg.clone();
        (jpeg[at + 1], jpeg[at + 4]) = (marker, bits);
        decode(&jpeg)
    };
    assert_eq!(of_kind(0xc9, 8).unwrap().dimensions(), (16, 8));
    assert!(of_kind(0xc3, 8).unwrap_err().contains("is a lossless JPEG, which is not supported"));
    assert!(of_kind(0xc5, 8).unwrap_err().contains("is a hierarchical JPEG"));
    assert!(of_kind(0xc1, 12).unwrap_err().contains("is a JPEG of 12 bits a channel"));
}

/// As Pillow 13.0 shows them.
#[test]
fn a_small_first_frame_lies_on_its_background() {
    let (first, second, third) = ([10, 20, 30], [40, 50, 60], [70, 80, 90]);
    assert_eq!(
        pixels(&decode(&one_pixel_gif(3, 2, b"")).unwrap()),
        [first, first, first, first, second, first]
    );
    let transparent = b"!\xf9\x04\x01\0\0\x02\0";
    assert_eq!(pixels(&decode(&one_pixel_gif(2, 1, transparent)).unwrap()), [third, third, third, second]);
    let what = decode(&one_pixel_gif(3, 2, b"")[..36]).unwrap_err();
    assert!(what.contains("is cut short"), "{what}");
}
