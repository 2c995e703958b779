// Exists so that cargo accepts the package; the dependencies are what it is for.
