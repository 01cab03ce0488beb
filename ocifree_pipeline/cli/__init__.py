"""The `ocifree` command. One module a verb; heavy imports live inside the functions, so that --help stays quick."""
