//! `dsi data fetch` as a program, with the hub's environment variables.

use std::path::Path;
use std::process::{Command, Output};

use super::server::{Request, Server, file, status};

tests! {
    a_clip_is_fetched_from_the_endpoint_into_the_home,
    the_cache_of_another_program_is_found_offline,
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
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
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

/// Where `huggingface_hub` keeps its cache, by its variables.
fn the_cache_of_another_program_is_found_offline() {
    let home = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (variable, value, cache) in [
        ("HF_HUB_CACHE", "caches/a", "caches/a"),
        ("HUGGINGFACE_HUB_CACHE", "~/b", "b"),
        ("XDG_CACHE_HOME", "~/c", "c/huggingface/hub"),
        ("HF_HOME", "$HOME/d", "d/hub"),
    ] {
        let repository = home.path().join(cache).join("models--org--tiny");
        let snapshot = repository.join("snapshots").join(commit);
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), commit).unwrap();
        FILES.iter().for_each(|(name, content)| std::fs::write(snapshot.join(name), content).unwrap());
        // Offline, nobody can say whether open_clip's files are missing: the configuration is a CLIP's.
        std::fs::write(snapshot.join("config.json"), br#"{"model_type": "clip"}"#).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dsi"));
        for other in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HOME", "DSI_LOG"] {
            command.env_remove(other);
        }
        command.args(["data", "fetch", "clip:org/tiny", "--offline"]).current_dir(home.path());
        let found = command.env("HOME", home.path()).env(variable, value).output().unwrap();
        assert!(found.status.success(), "{variable}: {}", text(&found.stderr));
        let printed = home.path().join(text(&found.stdout).trim_end());
        assert_eq!(printed.canonicalize().unwrap(), snapshot.canonicalize().unwrap(), "{variable}");
    }
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
