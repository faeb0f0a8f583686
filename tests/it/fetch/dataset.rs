//! Fetching a data set from local test servers that answer, refuse, fail or stay silent.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use dsi::data::corpus::Split;
use dsi::data::fetch::Fetcher;
use dsi::data::fetch::dataset_sources::{Dataset, DatasetFile, Location, Output};
use dsi::data::http::Checksum;
use dsi::data::hub::Hub;
use dsi::data::settings::OnBadImage;
use dsi::data::{karpathy, verify};
use dsi::error::Result;
use zip::write::SimpleFileOptions;

use super::server::{Answer, Request, Server, http, plain, status};

tests! {
    a_dataset_is_fetched_once_and_then_needs_no_network,
    only_what_is_missing_is_fetched,
    transient_errors_are_retried,
    an_interrupted_transfer_resumes_where_it_ended,
    a_server_without_range_requests_sends_the_whole_file,
    a_partial_file_of_other_content_is_discarded,
    a_refused_file_is_named_and_may_be_placed_by_hand,
    only_the_publishers_archive_is_accepted,
    the_next_source_is_tried_when_one_fails,
    an_archive_that_leads_outside_is_refused,
    offline_says_what_is_missing_without_a_request,
    a_full_disk_is_noticed_before_the_fetch,
    an_unpublished_size_is_requested_from_the_server,
}

const IMAGES: usize = 6;

fn zipped<'a>(entries: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn photo(n: usize) -> Vec<u8> {
    let colour = image::Rgb([40 * n as u8, 200, 255 - 40 * n as u8]);
    let mut jpeg = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(32, 24, colour).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    jpeg.into_inner()
}

fn captions() -> Vec<u8> {
    let image = |n: usize| {
        let split = ["train", "train", "restval", "val", "test", "test"][n];
        format!(r#"{{"filename": "{n}.jpg", "split": "{split}", "sentences": [{{"raw": "number {n}"}}]}}"#)
    };
    let images: Vec<String> = (0..IMAGES).map(image).collect();
    let json = format!(r#"{{"images": [{}], "dataset": "tiny"}}"#, images.join(", "));
    zipped([("dataset_tiny.json", json.into_bytes()), ("dataset_other.json", b"{}".to_vec())])
}

fn photos() -> Vec<u8> {
    let names: Vec<String> = (0..IMAGES).map(|n| format!("Tiny/{n}.jpg")).collect();
    let junk = [("__MACOSX/Tiny/._0.jpg", b"junk".to_vec()), ("Tiny/readme.txt", b"read me".to_vec())];
    zipped(names.iter().enumerate().map(|(n, name)| (name.as_str(), photo(n))).chain(junk))
}

/// The answer of a correct server.
fn honest(request: &Request) -> Answer {
    match request.file.as_str() {
        "captions.zip" => plain(request, &captions()),
        "photos.zip" => plain(request, &photos()),
        _ => status(404),
    }
}

/// A server with another answer for the photos.
fn with_photos(other: impl Fn(&Request) -> Answer) -> impl Fn(&Request) -> Answer {
    move |request| {
        if request.file == "photos.zip" && !request.head { other(request) } else { honest(request) }
    }
}

fn sha256(bytes: &[u8]) -> Option<Checksum> {
    Some(Checksum::Sha256("".into()).of(bytes, &|_| ()).unwrap())
}

fn source(name: &'static str, bytes: &[u8], place: String, output: Output) -> DatasetFile {
    DatasetFile {
        name,
        alternatives: &["photos.tar.gz"],
        locations: vec![Location::Web(place.leak())],
        size: Some(bytes.len() as u64),
        checksum: sha256(bytes),
        output,
        page: "the page of the tiny dataset",
    }
}

/// A dataset of six photos on this server.
fn tiny(server: &Server) -> Dataset {
    let captions =
        source("captions.zip", &captions(), server.url("captions.zip"), Output::File("dataset_tiny.json"));
    let photos = source("photos.zip", &photos(), server.url("at/photos.zip"), Output::Photos("images"));
    Dataset { name: "tiny", terms: "the terms", files: vec![captions, photos] }
}

fn hub(endpoint: &str, offline: bool, home: &Path) -> Hub {
    Hub { endpoint: endpoint.into(), cache: home.join("hub"), token: None, offline, http: http() }
}

/// Fetches into `home/tiny`.
fn fetch(dataset: &Dataset, home: &Path, offline: bool) -> Result<bool> {
    let hub = hub("http://127.0.0.1:9", offline, home);
    Fetcher { hub: &hub, out: &home.join("tiny"), keep: false }.fetch(dataset)
}

fn refusal(dataset: &Dataset, home: &Path) -> String {
    fetch(dataset, home, false).unwrap_err().to_string()
}

/// Asserts that the folder holds captions and photos and no leftovers of an archive.
fn assert_whole(home: &Path) {
    let out = home.join("tiny");
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dataset_tiny.json", "images"]);
    let corpus =
        karpathy::read(&out.join("dataset_tiny.json"), &out.join("images"), "tiny", OnBadImage::Error)
            .unwrap();
    assert_eq!(Split::ALL.map(|split| corpus.images_in(split).len()), [3, 1, 2]);
    assert!(verify::missing(&corpus).is_empty() && verify::broken(&corpus, &|| ()).is_empty());
    assert_eq!(fs::read_dir(out.join("images")).unwrap().count(), IMAGES);
}

fn a_dataset_is_fetched_once_and_then_needs_no_network() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let dataset = tiny(&server);
    assert!(fetch(&dataset, home.path(), false).unwrap());
    assert_whole(home.path());
    drop(server);
    assert!(!fetch(&dataset, home.path(), false).unwrap());
    assert!(!fetch(&dataset, home.path(), true).unwrap());
}

fn only_what_is_missing_is_fetched() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let dataset = tiny(&server);
    fetch(&dataset, home.path(), false).unwrap();
    fs::remove_dir_all(home.path().join("tiny/images")).unwrap();
    let before = server.asked().len();
    fetch(&dataset, home.path(), false).unwrap();
    assert_whole(home.path());
    assert!(server.asked()[before..].iter().all(|line| line.contains("photos.zip")), "{:?}", server.asked());
}

/// Two bad answers, then good ones: within the client's three attempts.
fn transient_errors_are_retried() {
    type Bad = fn(&Request) -> Answer;
    let bad: [(&str, Bad); 6] = [
        ("too many questions", |_| status(429).with("Retry-After: 0")),
        ("an error", |_| status(500)),
        ("out of service", |_| status(503)),
        ("cut", |request| plain(request, &photos()).cut(photos().len() * 9 / 10)),
        ("silent", |request| Answer { silent: true, ..plain(request, &photos()).cut(100) }),
        ("nothing at all", |_| Answer { head: Vec::new(), body: Vec::new(), silent: false }),
    ];
    for (what, answer) in bad {
        println!("{what}");
        let left = std::sync::atomic::AtomicUsize::new(2);
        let take = move || {
            let fewer = |n: usize| n.checked_sub(1);
            left.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, fewer)
                .is_ok()
        };
        let server = Server::start(with_photos(move |r| if take() { answer(r) } else { honest(r) }));
        let home = tempfile::tempdir().unwrap();
        fetch(&tiny(&server), home.path(), false).unwrap();
        assert_whole(home.path());
    }
}

fn an_interrupted_transfer_resumes_where_it_ended() {
    let most = photos().len() * 9 / 10;
    // Each attempt ends there, with or without a Content-Length.
    for announced in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(with_photos(move |request| {
            let start = request.start.unwrap_or(0);
            let answer = plain(request, &photos()).cut(most.saturating_sub(start));
            if announced { answer } else { answer.without("Content-Length") }
        }));
        let message = refusal(&tiny(&server), home.path());
        assert!(message.contains("photos.zip") && message.contains("the download resumes"), "{message}");
        let part = home.path().join("tiny/photos.zip.part");
        assert_eq!(fs::metadata(&part).unwrap().len(), most as u64);
        assert!(!home.path().join("tiny/images").exists());
        let server = Server::start(honest);
        fetch(&tiny(&server), home.path(), false).unwrap();
        assert_whole(home.path());
        let range = format!("range: bytes={most}-");
        assert!(server.requests.lock().unwrap().iter().any(|text| text.contains(&range)));
    }
}

fn a_server_without_range_requests_sends_the_whole_file() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("tiny")).unwrap();
    fs::write(home.path().join("tiny/photos.zip.part"), &photos()[..50]).unwrap();
    let server = Server::start(with_photos(|request| plain(&whole(request), &photos())));
    fetch(&tiny(&server), home.path(), false).unwrap();
    assert_whole(home.path());
}

/// A request for the whole of the same file.
fn whole(request: &Request) -> Request {
    Request { start: None, ..request.clone() }
}

/// Half of another version is on the disk: the checksum differs, and the whole file is fetched.
fn a_partial_file_of_other_content_is_discarded() {
    for length in [50, 1_000_000] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("tiny")).unwrap();
        fs::write(home.path().join("tiny/photos.zip.part"), vec![7; length]).unwrap();
        let server = Server::start(honest);
        fetch(&tiny(&server), home.path(), false).unwrap();
        assert_whole(home.path());
    }
}

fn a_refused_file_is_named_and_may_be_placed_by_hand() {
    type Bad = fn(&Request) -> Answer;
    let bad: [(&str, Bad); 7] = [
        ("http status 401; it is no longer available there", |_| status(401)),
        ("http status 403; it is no longer", |_| status(403)),
        ("http status 404; it is no longer", |_| status(404)),
        ("http status 429, retry after 3600 s; try again", |_| status(429).with("Retry-After: 3600")),
        ("a web page came instead of the file", |request| {
            plain(request, b"<html>log in</html>").with("Content-Type: text/html; charset=utf-8")
        }),
        ("the server has a file of 19 bytes", |request| plain(request, b"<html>log in</html>")),
        ("is not the sha256", |request| plain(request, &vec![7; photos().len()])),
    ];
    for (complaint, answer) in bad {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(with_photos(answer));
        let dataset = tiny(&server);
        let message = refusal(&dataset, home.path());
        let place = home.path().join("tiny");
        for part in
            [complaint, "photos.zip", &server.address, "the page of the tiny dataset", "photos.tar.gz"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(message.contains(place.to_str().unwrap()), "{message}");
        drop(server);
        fs::remove_file(place.join("photos.zip.part")).unwrap();
        fs::write(place.join("photos.zip"), photos()).unwrap();
        fetch(&dataset, home.path(), true).unwrap();
        assert!(place.join("photos.zip").exists(), "what was put there by hand stays");
        fs::remove_file(place.join("photos.zip")).unwrap();
        assert_whole(home.path());
    }
}

fn only_the_publishers_archive_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(with_photos(|_| status(404)));
    let out = home.path().join("tiny");
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("photos.zip"), zipped([("a.jpg", photo(0))])).unwrap();
    let message = refusal(&tiny(&server), home.path());
    assert!(message.contains("photos.zip: is not the published archive"), "{message}");
    fs::remove_file(out.join("photos.zip")).unwrap();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for n in 0..IMAGES {
        let (photo, mut header) = (photo(n), tar::Header::new_gnu());
        header.set_size(photo.len() as u64);
        tar.append_data(&mut header, format!("tiny-images/{n}.jpg"), photo.as_slice()).unwrap();
    }
    fs::write(out.join("photos.tar.gz"), tar.into_inner().unwrap().finish().unwrap()).unwrap();
    fetch(&tiny(&server), home.path(), false).unwrap();
    fs::remove_file(out.join("photos.tar.gz")).unwrap();
    assert_whole(home.path());
}

fn the_next_source_is_tried_when_one_fails() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let gone = Server::start(|_| status(404));
    let mut dataset = tiny(&server);
    dataset.files[1].locations.insert(0, Location::Web(gone.url("photos.zip").leak()));
    dataset.files[0].locations = vec![Location::Hub("org/tiny", "c0ffee", "captions.zip")];
    let hub = hub(&format!("http://{}", server.address), false, home.path());
    Fetcher { hub: &hub, out: &home.path().join("tiny"), keep: false }.fetch(&dataset).unwrap();
    assert_whole(home.path());
    let asked = server.asked();
    assert!(
        asked.iter().any(|line| line.contains("/datasets/org/tiny/resolve/c0ffee/captions.zip")),
        "{asked:?}"
    );
}

fn an_archive_that_leads_outside_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let evil = zipped([("good.jpg", photo(0)), ("../../evil.jpg", photo(1))]);
    let content = evil.clone();
    let server = Server::start(with_photos(move |request| plain(request, &content)));
    let mut dataset = tiny(&server);
    dataset.files[1] = source("photos.zip", &evil, server.url("photos.zip"), Output::Photos("images"));
    let message = refusal(&dataset, home.path());
    assert!(message.contains("`../../evil.jpg` leads outside the folder"), "{message}");
    assert!(!home.path().join("evil.jpg").exists() && !home.path().join("tiny/images").exists());
}

fn offline_says_what_is_missing_without_a_request() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let message = fetch(&tiny(&server), home.path(), true).unwrap_err().to_string();
    for part in
        ["captions.zip, for dataset_tiny.json", "photos.zip, for images", "the page of the tiny dataset"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(server.asked().is_empty());
}

fn a_full_disk_is_noticed_before_the_fetch() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let mut dataset = tiny(&server);
    dataset.files[1].size = Some(1 << 60);
    let message = refusal(&dataset, home.path());
    assert!(message.contains("needs 1152921504.6 GB") || message.contains("GB, and"), "{message}");
    assert!(server.asked().is_empty());
}

fn an_unpublished_size_is_requested_from_the_server() {
    let (server, home) = (Server::start(honest), tempfile::tempdir().unwrap());
    let mut dataset = tiny(&server);
    dataset.files[1].size = None;
    fetch(&dataset, home.path(), false).unwrap();
    assert_whole(home.path());
    assert_eq!(server.asked()[0], "HEAD /at/photos.zip HTTP/1.1");
}
