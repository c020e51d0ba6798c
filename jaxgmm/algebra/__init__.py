"""Operations on mixtures: marginals, conditionals, images, products and summaries."""
