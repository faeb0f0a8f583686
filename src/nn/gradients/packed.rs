//! Gradients of several parameters as one row of numbers, which ranks can sum.

use candle_core::{Result, Tensor};

/// A parameter and its gradient, if a backward pass reached it.
pub type Pair = (Tensor, Option<Tensor>);

/// All gradients in one row, with zeros for missing ones, followed by one number per parameter that says
/// whether it has a gradient. A parameter that no rank reached has none after the sum either; a rank that did
/// not reach one that another rank reached adds zeros.
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

/// The sum of several packed rows as gradients of the same parameters.
pub fn unpacked(pairs: &[Pair], sums: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let has = sums.narrow(0, sums.elem_count() - pairs.len(), pairs.len())?.to_vec1::<f32>()?;
    let mut start = 0;
    let gradient = |((parameter, _), has): (&Pair, f32)| {
        let count = parameter.elem_count();
        let own = sums.narrow(0, start, count)?.reshape(parameter.shape())?;
        start += count;
        Ok((has > 0.0).then_some(own))
    };
    pairs.iter().zip(has).map(gradient).collect()
}
