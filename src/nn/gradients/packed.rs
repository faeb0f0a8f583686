//! Gradients of several parameters as one row of numbers, which ranks can add up.

use candle_core::{Result, Tensor};

/// A parameter and its gradient, if any backward pass reached it.
pub type Pair = (Tensor, Option<Tensor>);

/// The gradients one behind the other, zeros where there is none; behind them, for each whether there is one: so what no rank has
/// reached keeps having none, and a rank whose queries did not reach what another's did has zeros to add.
pub fn packed(pairs: &[Pair]) -> Result<Tensor> {
    let has: Vec<f32> = pairs.iter().map(|(_, gradient)| f32::from(u8::from(gradient.is_some()))).collect();
    let flat = |(parameter, gradient): &Pair| match gradient {
        Some(gradient) => gradient.flatten_all(),
        None => parameter.zeros_like()?.flatten_all(),
    };
    let mut all = pairs.iter().map(flat).collect::<Result<Vec<_>>>()?;
    all.push(Tensor::from_vec(has, pairs.len(), pairs[0].0.device())?);
    Tensor::cat(&all, 0)
}

/// The sums of several such rows as gradients of the same parameters.
pub fn unpacked(pairs: &[Pair], sums: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let has = sums.narrow(0, sums.elem_count() - pairs.len(), pairs.len())?.to_vec1::<f32>()?;
    let mut at = 0;
    let gradient = |((parameter, _), has): (&Pair, f32)| {
        let count = parameter.elem_count();
        let own = sums.narrow(0, at, count)?.reshape(parameter.shape())?;
        at += count;
        Ok((has > 0.0).then_some(own))
    };
    pairs.iter().zip(has).map(gradient).collect()
}
