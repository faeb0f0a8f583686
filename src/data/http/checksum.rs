//! Checksums as the hosts of datasets publish them.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use md5::Md5;
use sha2::Sha256;

/// What the content of a file must hash to, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// The hub's for large files, and that of most lists.
    Sha256(Cow<'static, str>),
    /// All that some older lists have; it tells damage, not malice.
    Md5(Cow<'static, str>),
}

impl Checksum {
    /// The SHA-256 that the hub gives as the entity tag of a large file; small ones have git's hash there.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let is_sha256 =
            tag.len() == 64 && tag.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_sha256.then(|| Self::Sha256(tag.to_owned().into()))
    }

    /// The same sum of what `content` holds; `done` hears how many more bytes were read.
    ///
    /// # Errors
    /// When reading fails.
    pub fn of(&self, content: impl Read, done: &dyn Fn(u64)) -> io::Result<Self> {
        Ok(match self {
            Self::Sha256(_) => Self::Sha256(hash::<Sha256>(content, done)?.into()),
            Self::Md5(_) => Self::Md5(hash::<Md5>(content, done)?.into()),
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

fn hash<D: sha2::Digest>(mut content: impl Read, done: &dyn Fn(u64)) -> io::Result<String> {
    let (mut digest, mut buffer) = (D::new(), vec![0; 1 << 18]);
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            n => {
                digest.update(&buffer[..n]);
                done(n as u64);
            }
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        // The test vectors for "abc" of FIPS 180-4 and RFC 1321.
        let sha = Checksum::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into());
        let md5 = Checksum::Md5("900150983cd24fb0d6963f7d28e17f72".into());
        for sum in [sha, md5] {
            assert_eq!(sum.of(&b"abc"[..], &|_| ()).unwrap(), sum);
            assert_ne!(sum.of(&b"abd"[..], &|_| ()).unwrap(), sum);
        }
    }

    #[test]
    fn a_tag_is_a_sum_only_where_it_looks_like_one() {
        assert!(Checksum::of_tag(&"0f".repeat(32)).is_some());
        assert!(Checksum::of_tag(&"0f".repeat(20)).is_none(), "git's hash of a small file");
        assert!(Checksum::of_tag(&"0g".repeat(32)).is_none());
    }
}
