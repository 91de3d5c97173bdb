"""The commands: one function per file, whose signature defines its options. Heavy packages are imported inside it."""

COMMANDS = {
    "train": "Train an embedding model into a run folder.",
    "compare": "Train without and with memory, and report whether it helps on these data.",
    "tune": "Search for the best recipe for these data on validation classes, within a budget.",
    "evaluate": "Measure Recall@K, R-precision and MAP@R of a model.",
    "embed": "Embed images with a trained model, into a table.",
    "export": "Write a trained model as an ONNX file, or as a folder for a model hub.",
    "drift": "Show how far embeddings moved while a run trained.",
    "index": "Embed images into a gallery that can be searched.",
    "search": "Find the images of a gallery that are most similar to an image.",
    "serve": "Open a page that searches a gallery.",
    "report": "Write the page that shows a run, a comparison or a search.",
    "inspect": "Show what a data set holds.",
}
