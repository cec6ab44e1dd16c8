"""Generated gRPC messages; `insession_predict.proto` says what they are and how to generate them."""
