//! Fetching an encoder from a local test hub.

use std::fs;
use std::path::Path;

use dsi::data::encoder_folder;
use dsi::data::hub::Hub;
use dsi::progress::Progress;

use super::server::{Answer, Request, Server, file, http, status};

tests! {
    a_local_folder_is_returned_as_it_is,
    invalid_ids_are_refused_without_a_request,
    files_are_fetched_once_and_then_need_no_network,
    the_older_pair_of_files_stands_in_for_the_tokenizer,
    a_refusal_names_the_id_the_file_and_the_remedy,
    a_hub_that_cannot_be_reached_is_named,
    a_short_transfer_fails_and_the_next_completes_it,
    a_branch_that_moved_is_fetched_whole,
    a_server_cannot_name_a_path_outside_the_cache,
    weights_are_found_in_five_layouts,
    the_preprocessing_may_be_in_the_file_of_transformers_5,
    only_open_clip_folders_may_lack_the_preprocessing,
    an_open_clip_config_wins_over_a_foreign_one,
    a_list_of_shards_cannot_name_other_places_and_must_be_whole,
    content_that_is_not_what_its_tag_says_is_refused,
    transient_errors_are_retried,
    the_token_goes_to_the_hub_and_to_nobody_else,
    offline_makes_no_request_and_says_what_is_missing,
    a_disk_too_small_is_noticed_before_the_fetch,
}

const ID: &str = "org/clip-tiny";

/// The hub's repository. As on the real hub, the weights are redirected to a second address.
const FILES: [(&str, &[u8]); 4] = [
    ("config.json", b"{\"model_type\": \"clip\"}"),
    ("preprocessor_config.json", b"{\"preprocessor\": 1}"),
    ("tokenizer.json", b"{\"tokenizer\": 1}"),
    ("model.safetensors", b"weights, in truth very many of them"),
];

fn honest(request: &Request) -> Answer {
    let Some((_, content)) = FILES.iter().find(|(name, _)| *name == request.file) else { return status(404) };
    let mut answer = file(request, content, "c0ffee");
    if request.file == "model.safetensors" && request.text.contains("/resolve/") {
        let host = request.text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        answer.head[0] = "HTTP/1.1 302 -".into();
        answer.head.push(format!("Location: http://{host}/elsewhere/model.safetensors"));
    }
    answer
}

/// The hub that the server plays.
fn hub(server: &Server, home: &Path) -> Hub {
    let endpoint = format!("http://{}", server.address);
    Hub { endpoint, cache: home.join("hub"), token: None, offline: false, http: http() }
}

/// Asserts that a folder holds exactly these files.
fn assert_holds(folder: &Path, files: &[(&str, &[u8])]) {
    assert_eq!(fs::read_dir(folder).unwrap().count(), files.len());
    for (name, content) in files {
        assert_eq!(fs::read(folder.join(name)).unwrap(), *content, "{name}");
    }
}

fn a_local_folder_is_returned_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        encoder_folder::find(folder.path().to_str().unwrap(), "main", Progress::Hidden).unwrap(),
        folder.path()
    );
}

fn invalid_ids_are_refused_without_a_request() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let refusal = |id: &str, revision: &str| {
        hub(&server, home.path()).folder(id, revision).expect_err(&format!("{id} {revision}")).to_string()
    };
    let allowed = ["model.safetensors", "vocab.json + merges.txt", "openai/clip-vit-base-patch32"];
    for id in ["", "clip", "./clips/b32", "/etc/clip", "../a", "a/..", "a/b/c", "a/b c", "a/b?c", "a--b/c"] {
        let message = refusal(id, "main");
        assert!(
            message.contains(&format!("`{id}`")) && allowed.iter().all(|a| message.contains(a)),
            "{message}"
        );
    }
    for revision in ["", "/main", "../../x", "a//b", "main ", "a\nb"] {
        assert!(refusal(ID, revision).contains(&format!("`{revision}` is not a revision")));
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

fn files_are_fetched_once_and_then_need_no_network() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let hub = Hub { token: Some("s3cret".into()), ..hub(&server, home.path()) };
    let folder = hub.folder(ID, "refs/pr/15").unwrap();
    assert!(folder.ends_with("hub/models--org--clip-tiny/snapshots/c0ffee"), "{}", folder.display());
    assert_holds(&folder, &FILES);
    let requests = server.requests.lock().unwrap().clone();
    assert!(
        requests[0].starts_with("HEAD /org/clip-tiny/resolve/refs%2Fpr%2F15/config.json "),
        "{}",
        requests[0]
    );
    assert!(requests[0].contains("Bearer s3cret"), "{}", requests[0]);
    drop(server);
    assert_eq!(hub.folder(ID, "refs/pr/15").unwrap(), folder);
}

fn the_older_pair_of_files_stands_in_for_the_tokenizer() {
    let pair: [(&str, &[u8]); 2] = [("vocab.json", b"{\"a\": 0}"), ("merges.txt", b"#version: 0.2\n")];
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(move |request| match request.file.as_str() {
        "tokenizer.json" => status(404),
        name => match pair.iter().find(|(other, _)| *other == name) {
            Some((_, content)) => file(request, content, "c0ffee"),
            None => honest(request),
        },
    });
    let hub = hub(&server, home.path());
    let folder = hub.folder(ID, "main").unwrap();
    assert_holds(&folder, &[FILES[0], FILES[1], FILES[3], pair[0], pair[1]]);
    drop(server);
    assert_eq!(hub.folder(ID, "main").unwrap(), folder);
}

fn a_refusal_names_the_id_the_file_and_the_remedy() {
    for (missing, code, remedy) in [
        ("config.json", 401, "set HF_TOKEN"),
        ("config.json", 403, "accept its licence"),
        ("config.json", 404, "does not exist"),
        ("tokenizer.json", 404, "tokenizer.json or vocab.json + merges.txt"),
        ("model.safetensors", 404, "convert its weights"),
        ("preprocessor_config.json", 429, "or download the folder yourself"),
        ("model.safetensors", 503, "try again, or download the folder yourself"),
        ("config.json", 200, "check HF_ENDPOINT"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let answer = move |r: &Request| if r.file == missing { status(code) } else { honest(r) };
        let server = Server::start(answer);
        let message = hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
        for part in [ID, "not a local folder", "revision `main`", missing, &server.address, remedy] {
            assert!(message.contains(part), "{code}: {message}");
        }
    }
}

fn a_hub_that_cannot_be_reached_is_named() {
    let home = tempfile::tempdir().unwrap();
    let hub = hub(&Server::start(honest), home.path()); // gone at once
    let message = hub.folder(ID, "main").unwrap_err().to_string();
    for part in [ID, "config.json", &hub.endpoint, "or download the folder yourself"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Ends the body of the weights after five bytes, with its full length announced or with none.
fn cut(announced: bool) -> impl Fn(&Request) -> Answer {
    move |request| {
        let mut answer = honest(request);
        if request.file == "model.safetensors" && !request.text.contains("/resolve/") {
            answer.body.truncate(5);
            answer.head.retain(|line| announced || request.head || !line.starts_with("Content-Length"));
        }
        answer
    }
}

fn a_short_transfer_fails_and_the_next_completes_it() {
    for announced in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(cut(announced));
        let message = hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("try again"), "{message}");
        let blob = home.path().join("hub/models--org--clip-tiny/blobs/model-safetensors-c0ffee");
        assert!(!blob.exists(), "other programs would take it for whole");
        let server = Server::start(honest);
        let folder = hub(&server, home.path()).folder(ID, "main").unwrap();
        assert_holds(&folder, &FILES);
        let requests = server.requests.lock().unwrap();
        let got = 5 * 3; // five bytes in each of the three attempts
        assert!(requests.iter().any(|text| text.contains(&format!("range: bytes={got}-"))), "resumed");
    }
}

fn a_branch_that_moved_is_fetched_whole() {
    let home = tempfile::tempdir().unwrap();
    let broken =
        |request: &Request| if request.file == "model.safetensors" { status(503) } else { honest(request) };
    hub(&Server::start(broken), home.path()).folder(ID, "main").unwrap_err();
    let newer = |request: &Request| match FILES.iter().find(|(name, _)| *name == request.file) {
        Some((_, content)) => file(request, content, "beef"),
        None => status(404),
    };
    let server = Server::start(newer);
    let folder = hub(&server, home.path()).folder(ID, "main").unwrap();
    assert!(folder.ends_with("beef"));
    assert_holds(&folder, &FILES);
}

fn a_server_cannot_name_a_path_outside_the_cache() {
    let home = tempfile::tempdir().unwrap();
    for (header, evil) in [("X-Repo-Commit", "../../../../evil"), ("ETag", "/evil"), ("ETag", "../../evil")] {
        let server = Server::start(move |request| {
            let mut answer = honest(request);
            answer.head.retain(|line| !line.starts_with(header));
            answer.head.push(format!("{header}: {evil}"));
            answer
        });
        let message = hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
        assert!(message.contains("x-repo-commit or etag"), "{message}");
        assert!(!home.path().join("hub").exists(), "nothing is written");
    }
}

/// A repository of these files and no others.
fn repository(files: Vec<(&'static str, Vec<u8>)>) -> impl Fn(&Request) -> Answer {
    move |request| match files.iter().find(|(name, _)| *name == request.file) {
        Some((_, content)) => file(request, content, "c0ffee"),
        None => status(404),
    }
}

fn weights_are_found_in_five_layouts() {
    let list = br#"{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let ways: [&[(&str, &[u8])]; 4] = [
        &[
            ("model.safetensors.index.json", list),
            ("model-1.safetensors", b"first"),
            ("model-2.safetensors", b"second"),
        ],
        &[("pytorch_model.bin", b"pickled")],
        &[("open_clip_model.safetensors", b"open")],
        &[("open_clip_pytorch_model.bin", b"open and pickled")],
    ];
    for way in ways {
        let home = tempfile::tempdir().unwrap();
        let all = [&FILES[..3], way].concat();
        let server = Server::start(repository(all.iter().map(|(name, c)| (*name, c.to_vec())).collect()));
        let hub = hub(&server, home.path());
        let folder = hub.folder(ID, "main").unwrap();
        assert_holds(&folder, &all);
        drop(server);
        assert_eq!(hub.folder(ID, "main").unwrap(), folder);
    }
}

fn the_preprocessing_may_be_in_the_file_of_transformers_5() {
    let processor: (&str, &[u8]) = ("processor_config.json", b"{\"image_processor\": {}}");
    let owned = |files: &[(&'static str, &[u8])]| files.iter().map(|(name, c)| (*name, c.to_vec())).collect();
    let (home, files) = (tempfile::tempdir().unwrap(), [FILES[0], processor, FILES[2], FILES[3]]);
    let server = Server::start(repository(owned(&files)));
    let newer = hub(&server, home.path());
    let folder = newer.folder(ID, "main").unwrap();
    assert_holds(&folder, &files);
    drop(server);
    assert_eq!(newer.folder(ID, "main").unwrap(), folder);

    // The file of transformers 4 has another purpose: cached alone, it does not stand for the preprocessing.
    fs::write(folder.join(processor.0), b"{\"processor_class\": \"CLIPProcessor\"}").unwrap();
    let server = Server::start(honest);
    assert!(hub(&server, home.path()).folder(ID, "main").unwrap().join(FILES[1].0).exists());
}

fn only_open_clip_folders_may_lack_the_preprocessing() {
    let home = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] =
        [("open_clip_config.json", b"{}"), FILES[2], ("open_clip_model.safetensors", b"weights")];
    let owned = |files: &[(&'static str, &[u8])]| files.iter().map(|(name, c)| (*name, c.to_vec())).collect();
    let server = Server::start(repository(owned(&files)));
    let hub = hub(&server, home.path());
    let folder = hub.folder(ID, "main").unwrap();
    assert_holds(&folder, &files);
    drop(server);
    assert_eq!(hub.folder(ID, "main").unwrap(), folder, "its absence is remembered");

    let home = tempfile::tempdir().unwrap();
    let server = Server::start(repository(owned(&[FILES[0], FILES[2], FILES[3]])));
    let message = self::hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
    assert!(message.contains("preprocessor_config.json") && message.contains("404"), "{message}");
}

/// timm's repositories: a `config.json` of timm, the weights of an image tower under transformers' name, and
/// a CLIP in open_clip's files.
fn an_open_clip_config_wins_over_a_foreign_one() {
    let timm: (&str, &[u8]) = ("config.json", b"{\"architecture\": \"vit\", \"pretrained_cfg\": {}}");
    let theirs: [(&str, &[u8]); 4] =
        [timm, ("open_clip_config.json", b"{}"), FILES[2], ("open_clip_model.safetensors", b"both towers")];
    let owned = |files: &[(&'static str, &[u8])]| files.iter().map(|(name, c)| (*name, c.to_vec())).collect();
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(repository(owned(&[&theirs[..], &FILES[3..]].concat())));
    let hub = hub(&server, home.path());
    let folder = hub.folder(ID, "main").unwrap();
    assert_holds(&folder, &theirs);
    drop(server);
    assert_eq!(hub.folder(ID, "main").unwrap(), folder, "what it lacks is remembered");

    // Without them only the foreign files are left, and reading them fails by name.
    let home = tempfile::tempdir().unwrap();
    let others = [&[timm][..], &FILES[1..]].concat();
    let server = Server::start(repository(owned(&others)));
    let hub = self::hub(&server, home.path());
    let folder = hub.folder(ID, "main").unwrap();
    assert_holds(&folder, &others);
    drop(server);
    assert_eq!(hub.folder(ID, "main").unwrap(), folder);
}

fn a_list_of_shards_cannot_name_other_places_and_must_be_whole() {
    for (list, complaint) in [
        (
            r#"{"weight_map": {"a": "../../evil.safetensors"}}"#,
            "`../../evil.safetensors`, which is no plain file name",
        ),
        (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "`/etc/passwd`"),
        (r#"{"weight_map": {"a": "gone.safetensors"}}"#, "gone.safetensors of model.safetensors.index.json"),
        ("<html>", "is a web page"),
        ("[]", "is not a list of a model's shards"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut files: Vec<_> = FILES[..3].iter().map(|(name, c)| (*name, c.to_vec())).collect();
        files.push(("model.safetensors.index.json", list.into()));
        let message =
            hub(&Server::start(repository(files)), home.path()).folder(ID, "main").unwrap_err().to_string();
        assert!(message.contains(complaint), "{message}");
    }
}

/// The hub's tag of a large file is its SHA-256.
fn content_that_is_not_what_its_tag_says_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let tag = "5".repeat(64);
    let server = Server::start(move |request| match request.file.as_str() {
        "model.safetensors" => honest(request).without("ETag").with(&format!("X-Linked-ETag: \"{tag}\"")),
        _ => honest(request),
    });
    let message = hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
    assert!(message.contains("model.safetensors") && message.contains("is not the sha256 5555"), "{message}");
}

fn transient_errors_are_retried() {
    for bad in ["429", "500", "silence", "cut"] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(move |request| match (request.count % 3, bad) {
            (0, "429") => status(429).with("Retry-After: 0"),
            (0, "500") => status(500),
            (0, "silence") => Answer { silent: true, ..honest(request).cut(3) },
            (0, _) if !request.head => honest(request).cut(3),
            _ => honest(request),
        });
        let folder = hub(&server, home.path()).folder(ID, "main").unwrap();
        assert_holds(&folder, &FILES);
    }
}

fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let elsewhere = Server::start(honest);
    let address = elsewhere.address.clone();
    let server = Server::start(move |request| match request.file.as_str() {
        "model.safetensors" => {
            let mut answer = honest(request).without("Location").without("Content-Length");
            answer.head[0] = "HTTP/1.1 302 -".into();
            answer.body.clear();
            answer
                .with("Content-Length: 0")
                .with(&format!("Location: http://{address}/cdn/model.safetensors"))
        }
        _ => honest(request),
    });
    let home = tempfile::tempdir().unwrap();
    let hub = Hub { token: Some("s3cret".into()), ..hub(&server, home.path()) };
    assert_holds(&hub.folder(ID, "main").unwrap(), &FILES);
    let sent = |server: &Server| server.requests.lock().unwrap().join("\n");
    assert!(sent(&server).contains("Bearer s3cret"));
    assert!(sent(&elsewhere).contains("/cdn/model.safetensors") && !sent(&elsewhere).contains("s3cret"));
}

fn offline_makes_no_request_and_says_what_is_missing() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let offline = Hub { offline: true, ..hub(&server, home.path()) };
    let message = offline.folder(ID, "main").unwrap_err().to_string();
    assert!(message.contains("config.json") && message.contains("dsi data fetch clip:ID"), "{message}");
    assert!(server.asked().is_empty());
    let folder = hub(&server, home.path()).folder(ID, "main").unwrap();
    assert_eq!(offline.folder(ID, "main").unwrap(), folder);
}

fn a_disk_too_small_is_noticed_before_the_fetch() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.file.as_str() {
        "model.safetensors" => honest(request).with("X-Linked-Size: 1152921504606846976"),
        _ => honest(request),
    });
    let message = hub(&server, home.path()).folder(ID, "main").unwrap_err().to_string();
    assert!(message.contains("GB, and") && message.contains("are free"), "{message}");
    let small = |line: &String| line.starts_with("HEAD ") || line.contains("/config.json ");
    assert!(server.asked().iter().all(small), "{:?}", server.asked());
}
