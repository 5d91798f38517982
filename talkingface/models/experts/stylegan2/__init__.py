"""StyleGAN2: faces from nothing, and the generator that inversion and FC-TFG build on."""
