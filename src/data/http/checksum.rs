//! Checksums of files, as the hosts of datasets publish them.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use md5::Md5;
use sha2::Sha256;

/// The hash of a file's content, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// The hub's hash of large files, and that of most published lists.
    Sha256(Cow<'static, str>),
    /// The only hash in some older lists; it detects damage, not forgery.
    Md5(Cow<'static, str>),
}

impl Checksum {
    /// The SHA-256 in the hub's entity tag of a large file; `None` for a small file, whose tag is a git hash.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let is_sha256 =
            tag.len() == 64 && tag.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_sha256.then(|| Self::Sha256(tag.to_owned().into()))
    }

    /// The checksum of `content` with the same hash function; `on_read` gets the number of bytes of each
    /// read.
    pub fn of(&self, content: impl Read, on_read: &dyn Fn(u64)) -> io::Result<Self> {
        Ok(match self {
            Self::Sha256(_) => Self::Sha256(hash::<Sha256>(content, on_read)?.into()),
            Self::Md5(_) => Self::Md5(hash::<Md5>(content, on_read)?.into()),
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256 {hex}"),
            Self::Md5(hex) => write!(f, "md5 {hex}"),
        }
    }
}

fn hash<D: sha2::Digest>(mut content: impl Read, on_read: &dyn Fn(u64)) -> io::Result<String> {
    let (mut digest, mut buffer) = (D::new(), vec![0; 1 << 18]);
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            n => {
                digest.update(&buffer[..n]);
                on_read(n as u64);
            }
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_standards_test_vectors() {
        // The test vectors for "abc" of FIPS 180-4 and RFC 1321.
        let sha = Checksum::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into());
        let md5 = Checksum::Md5("900150983cd24fb0d6963f7d28e17f72".into());
        for sum in [sha, md5] {
            assert_eq!(sum.of(&b"abc"[..], &|_| ()).unwrap(), sum);
            assert_ne!(sum.of(&b"abd"[..], &|_| ()).unwrap(), sum);
        }
    }

    #[test]
    fn only_a_sha256_tag_is_a_checksum() {
        assert!(Checksum::of_tag(&"0f".repeat(32)).is_some());
        assert!(Checksum::of_tag(&"0f".repeat(20)).is_none(), "git's hash of a small file");
        assert!(Checksum::of_tag(&"0g".repeat(32)).is_none());
    }
}
