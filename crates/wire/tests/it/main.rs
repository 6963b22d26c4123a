//! What the codecs promise each other and the world.

mod hot;
mod sigv4;
mod vary;
