"""The live page: its files in `static`, its routes (`pages`), the WebSocket (`socket`) and the analysis (`session`)."""
