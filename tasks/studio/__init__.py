"""The picture and sound machinery behind the animatic: local files in, a local MP4 out, and a probe for any clip."""
