//! What the codecs promise each other and the world.
