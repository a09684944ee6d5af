/** A value that is never shown: every way of printing it gives •••; only `reveal()` gives the value. */
export class Secret {
  readonly name: string
  readonly #value: string

  constructor(value: string, name = 'secret') {
    this.#value = value
    this.name = name
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return mask
  }

  toJSON(): string {
    return mask
  }

  [Symbol.toPrimitive](): string {
    return mask
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Secret(${this.name})`
  }
}

const mask = '•••'
