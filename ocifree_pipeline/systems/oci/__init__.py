"""Oracle Cloud through its own SDK. The SDK is imported inside functions: it costs a quarter of a second."""
