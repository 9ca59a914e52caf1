//! `POST /v1/embeddings`: unit vectors made of word hashes, so that equal texts are equal, texts
//! with words in common are near each other, and nothing needs a model.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::server::{Shared, readable};
use super::speech;
use super::wire::{EmbeddingsRequest, EncodingFormat, read, words};
use crate::deterministic::{SplitMix64, hash};

pub(crate) const PATH: &str = "/v1/embeddings";
/// OpenAI's own limit.
const INPUTS_MAX: usize = 2_048;
/// Above every model in use; bounds the answer's size.
pub(crate) const DIMENSIONS_MAX: usize = 4_096;

pub(crate) async fn embed(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = readable(body)?;
    let (recorded, request) = read::<EmbeddingsRequest>(&body)?;
    shared.recorder.record(PATH, None, recorded, body.len());
    let dimensions = request.dimensions.unwrap_or(shared.embedding_dimensions);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let message = format!("'dimensions' is {dimensions}, must be 1 to {DIMENSIONS_MAX}");
        return Err(ApiError::invalid(message));
    }
    let texts = request.input.into_texts();
    if texts.is_empty() || texts.len() > INPUTS_MAX {
        let message = format!("'input' has {} texts, must be 1 to {INPUTS_MAX}", texts.len());
        return Err(ApiError::invalid(message));
    }
    let prompt_tokens: u64 = texts.iter().map(|text| words(text)).sum();
    let format = request.encoding_format.unwrap_or(EncodingFormat::Float);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = embedding(&request.model, text, dimensions);
            json!({"object": "embedding", "index": index, "embedding": encoded(&vector, format)})
        })
        .collect();
    tokio::time::sleep(shared.timing.first_token).await;
    let answer = json!({
        "object": "list", "data": data, "model": request.model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    });
    Ok(speech::whole(&answer, false))
}

fn encoded(vector: &[f32], format: EncodingFormat) -> Value {
    match format {
        EncodingFormat::Float => json!(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        }
    }
}

/// The sum of one pseudo-random vector per word, made one long.
fn embedding(model: &str, text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; dimensions];
    let lower = text.to_lowercase();
    // The empty text is a word too, lest its vector have no direction.
    let parts = if lower.trim().is_empty() { vec![""] } else { lower.split_whitespace().collect() };
    for word in parts {
        let mut random = SplitMix64::new(hash(format!("{model}\n{word}").as_bytes()));
        for value in &mut sum {
            *value += random.next_unit().mul_add(2.0, -1.0);
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    sum.iter().map(|value| (value / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::embedding;

    fn dot(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_are_unit_stable_and_near_for_common_words() {
        let cat = embedding("m", "the cat sat", 256);
        assert_eq!(cat, embedding("m", "the cat sat", 256));
        assert_ne!(cat, embedding("other", "the cat sat", 256));
        assert!((dot(&cat, &cat) - 1.0).abs() < 1e-5);
        let near = dot(&cat, &embedding("m", "the cat ran", 256));
        let far = dot(&cat, &embedding("m", "quarterly revenue report", 256));
        assert!(near > 0.4 && far < 0.3, "near {near}, far {far}");
        assert!((dot(&embedding("m", "", 8), &embedding("m", "", 8)) - 1.0).abs() < 1e-5);
    }
}
