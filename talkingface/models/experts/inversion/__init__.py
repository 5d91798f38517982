"""GAN inversion: latents, and with HyperStyle changes of weights, that paint a given face."""
