"""What routes answer, a noun a module: the models that the API's document shows."""
