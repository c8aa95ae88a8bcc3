#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "v0_10", feature = "v0_11"))]
mod bridge;
#[cfg(any(feature = "v0_10", feature = "v0_11"))]
#[macro_use]
mod version;

#[cfg(feature = "v0_10")]
pub mod v0_10;
#[cfg(feature = "v0_11")]
pub mod v0_11;
