//! Decoding and preparing pictures: the same numbers as the reference processors
