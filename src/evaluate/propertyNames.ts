/** The names of the properties of attention weights, apart from how they are computed, so that help needs none of that. */

/** Every property, in the order of tables. */
export const propertyNames = ['kl', 'entropy', 'monotonicity', 'inversions'] as const

/** A name of a property. */
export type PropertyName = (typeof propertyNames)[number]

/** A property by name. @throws RangeError naming the known ones. */
export function propertyNamed(name: string, where = 'property'): PropertyName {
  const found = propertyNames.find((known) => known === name)
  if (found) return found
  throw new RangeError(`${where}: got ${name}, want one of ${propertyNames.join(', ')}`)
}
