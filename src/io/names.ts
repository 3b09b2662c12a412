/** Names that files give to tensors, keys and members. */

const longest = 512

/** The name, when it can stand in a message. @throws Error when it is too long, or has control characters. */
export function checkName(where: string, name: string): string {
  if (name.length <= longest && !/\p{Cc}/u.test(name) && name !== '__proto__') return name
  const what = name.length > longest ? `at most ${longest} characters` : 'visible characters'
  throw new Error(`${where}: ${JSON.stringify(name.slice(0, 60))} cannot be a name, want one of ${what}`)
}
