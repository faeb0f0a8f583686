//! Encoders: what turns captions and photos into embeddings, and a corpus with the embeddings of all its images and captions.

pub mod clip;
pub mod clip_encoder;
pub mod embedded_corpus;
pub mod view_embeddings;
