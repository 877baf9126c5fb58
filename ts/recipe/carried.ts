/** Where the recipe is in a file: what writes it and what reads it agree here. */

/** Of the text in a PNG; in XMP the usual prefix. */
export const keyword = 'magicmix'
export const namespace = 'urn:magicmix:1.0:'
