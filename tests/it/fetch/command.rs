//! `dsi data fetch` as a program, with the hub's environment variables.

use std::path::Path;
use std::process::{Command, Output};

use super::server::{Request, Server, file, status};

tests! {
    a_clip_is_fetched_from_the_endpoint_into_the_home,
    unfetchable_names_are_refused_with_the_remedy,
}

const FILES: [(&str, &[u8]); 4] = [
    ("config.json", b"{}"),
    ("preprocessor_config.json", b"{}"),
    ("tokenizer.json", b"{}"),
    ("model.safetensors", b"weights"),
];

fn dsi(home: &Path, endpoint: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsi"));
    command
        .args(["data", "fetch"])
        .args(args)
        .current_dir(home)
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("DSI_LOG");
    command.env("HF_HOME", home).env("HF_ENDPOINT", endpoint).env("HF_TOKEN", "s3cret").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn a_clip_is_fetched_from_the_endpoint_into_the_home() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request: &Request| {
        let content = FILES.iter().find(|(name, _)| *name == request.file);
        content.map_or_else(|| status(404), |(_, content)| file(request, content, "c0ffee"))
    });
    let endpoint = format!("http://{}/", server.address);
    let fetched = dsi(home.path(), &endpoint, &["clip:org/tiny@refs/pr/1"]);
    let (stdout, stderr) = (text(&fetched.stdout), text(&fetched.stderr));
    assert!(fetched.status.success(), "{stderr}");
    let folder = home.path().join("hub/models--org--tiny/snapshots/c0ffee");
    assert_eq!(stdout.trim_end(), folder.to_str().unwrap());
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), b"weights");
    // The configuration is fetched first, to check the model's shape.
    for part in ["model.safetensors (7 bytes)", "11 bytes in all", "org/tiny"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!stderr.contains("s3cret"), "{stderr}");
    assert!(server.requests.lock().unwrap().iter().all(|request| request.contains("Bearer s3cret")));
    drop(server);
    let again = dsi(home.path(), &endpoint, &["clip:org/tiny@refs/pr/1", "--offline"]);
    assert_eq!(text(&again.stdout), stdout, "{}", text(&again.stderr));
}

fn unfetchable_names_are_refused_with_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    for (args, parts) in [
        (&["flickr31k"][..], &["flickr31k", "flickr8k, flickr30k, coco", "clip:HUB-ID"][..]),
        (&["clip:org/tiny", "--offline"], &["org/tiny", "config.json", "--offline"]),
        (&["clip:org/tiny", "--out", "x"], &["HF_HOME"]),
        (&["clip:tiny"], &["`tiny`", "hub id"]),
        (
            &["coco", "--offline"],
            &["train2014.zip", "val2014.zip", "caption_datasets.zip", "cocodataset.org"],
        ),
        (
            &["flickr30k", "--offline", "--out", "x"],
            &["flickr30k-images.tar.gz", "put it as", "DenotationGraph"],
        ),
    ] {
        let refused = dsi(home.path(), "http://127.0.0.1:9", args);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{args:?} {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{args:?}: {part} is missing: {stderr}");
        }
    }
}
