//! Checkpoints that are written, pruned, damaged and resumed from.

use super::*;
use candle_core::Device;

fn checkpoint(step: usize, best: usize) -> Checkpoint {
    let tensor = Tensor::new(&[step as f32], &Device::Cpu).unwrap();
    let named = |name: &str| BTreeMap::from([(name.to_owned(), tensor.clone())]);
    Checkpoint {
        progress: Progress { step, best: Some((best, 0.5)), ..Progress::default() },
        weights: named("w"),
        optimizer: named("m.w"),
    }
}

#[test]
fn last_and_best_are_kept_and_the_rest_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    for (step, best) in [(10, 10), (20, 20), (30, 20), (40, 20)] {
        checkpoint(step, best).write(folder.path(), 1).unwrap();
    }
    let read = |which| Checkpoint::read(folder.path(), which).unwrap();
    assert_eq!(read(Which::Last).progress.step, 40);
    assert_eq!(read(Which::Best).weights["w"].to_vec1::<f32>().unwrap(), [20.0]);
    let folders =
        fs::read_dir(folder.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 2);
    let hash = |which| weights_hash(folder.path(), which).unwrap();
    assert_ne!(hash(Which::Last), hash(Which::Best));
}

#[test]
fn a_training_goes_on_from_the_newest_whole_checkpoint_whose_best_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let space = folder.path();
    let resumed = || Checkpoint::resume(space).map(|found| found.progress.step).map_err(|e| e.to_string());
    assert!(resumed().unwrap_err().contains("train first"));
    for (step, best) in [(10, 10), (20, 10), (30, 30), (40, 30)] {
        checkpoint(step, best).write(space, 3).unwrap();
    }
    assert_eq!(steps(space).unwrap(), [10, 20, 30, 40]); // 10 was the best of 20
    // A crash after the rename and before the pointers: the newest is whole nevertheless.
    fs::write(space.join("last"), "step-30").unwrap();
    assert_eq!(resumed(), Ok(40));
    assert_eq!(Checkpoint::read(space, Which::Last).unwrap().progress.step, 40);
    let damage = |step: usize, name: &str| {
        let path = at(space, step).join(name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    damage(40, OPTIMIZER);
    assert_eq!(resumed(), Ok(30));
    assert_eq!(Checkpoint::read(space, Which::Last).unwrap().progress.step, 30);
    // The best of 40 and 30 is gone with 30 itself; that of 20 is 10.
    damage(30, WEIGHTS);
    assert_eq!(resumed(), Ok(20));
    assert_eq!(Checkpoint::read(space, Which::Best).unwrap().progress.step, 10);
    checkpoint(25, 25).write(space, 3).unwrap();
    assert_eq!(steps(space).unwrap(), [10, 20, 25], "what lies ahead was damaged");
    let meta = at(space, 25).join(META);
    let text = fs::read_to_string(&meta).unwrap();
    fs::write(&meta, text.replace("\"step\": 25", "\"step\": 26")).unwrap();
    assert_eq!(resumed(), Ok(20), "a step that is not its folder's");
    damage(10, WEIGHTS);
    damage(20, WEIGHTS);
    assert!(resumed().unwrap_err().contains("another step"));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |part: &str| {
        let message = Checkpoint::read(folder.path(), Which::Last).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    fails("train first");
    checkpoint(7, 7).write(folder.path(), 1).unwrap();
    let weights = folder.path().join("step-7").join(WEIGHTS);
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    fails("truncated or altered");
    fs::write(&weights, bytes).unwrap();
    let meta = folder.path().join("step-7").join(META);
    fs::write(&meta, fs::read_to_string(&meta).unwrap().replace("\"version\": 1", "\"version\": 9")).unwrap();
    fails("format version 9");
    fs::write(folder.path().join("last"), "../../etc").unwrap();
    fails("does not name a checkpoint");
}
