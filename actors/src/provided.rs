//! What the program gives to all steps of an engine, found by its type.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// Values of a program's own, one of a type.
#[derive(Default)]
pub(crate) struct Provided(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Provided {
    /// Keeps a value in the place of an earlier one of its type.
    pub(crate) fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(value));
    }

    pub(crate) fn get<T: Any>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_and_the_last_one_counts() {
        let mut provided = Provided::default();
        assert_eq!(provided.get::<u8>(), None);
        provided.put(1u8);
        provided.put("text");
        provided.put(2u8);
        assert_eq!(provided.get::<u8>(), Some(&2));
        assert_eq!(provided.get::<&str>(), Some(&"text"));
        assert_eq!(provided.get::<u16>(), None);
    }
}
