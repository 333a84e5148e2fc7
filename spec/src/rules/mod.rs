//! What an onlooker may see happen in a group.
