"""What a user asks for: each builds a graph or a list of segments, and hands it to the runtime. None moves a byte
itself."""
