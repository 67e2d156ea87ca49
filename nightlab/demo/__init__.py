"""Looking at a model: frames from files, videos and cameras, drawn as panels, into files or a window."""
