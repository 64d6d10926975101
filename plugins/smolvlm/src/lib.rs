//! SmolVLM and Idefics3: tiled pictures, pixel shuffle, a Llama decoder
